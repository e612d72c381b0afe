"""Any backend against the model: a Hypothesis state machine. Needs ``pip install "kapusta-core[testing]"``."""
# ruff: noqa: S101 - what the machine finds, it asserts

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

try:
    from hypothesis import HealthCheck, Phase, settings
    from hypothesis import strategies as st
    from hypothesis.stateful import (
        RuleBasedStateMachine,
        initialize,
        invariant,
        rule,
        run_state_machine_as_test,
    )
except ModuleNotFoundError as missing:
    raise ImportError(
        f'{__name__} needs hypothesis. Install it: pip install "kapusta-core[testing]"', name=missing.name
    ) from missing

from kapusta._crud import BaseCRUD
from kapusta._enums import TaskExecutionMode, TaskStatus
from kapusta._records import (
    Change,
    ClaimRequest,
    Guard,
    NewTask,
    Renewal,
    RenewRequest,
    StoredTask,
    TaskQuery,
    UniqueKey,
    UniqueUntil,
)

from ._model import Model
from ._stage import OpenBackend
from .clock import ManualClock

T = TypeVar("T")

_SLACK: Final = timedelta(minutes=1)
"""How far apart the instants of a store whose clock runs on, and of the model, may be."""

# Durations are whole hours and time moves by 61 minutes, so that nothing is ever decided by the second.
_HOURS: Final = st.integers(0, 4).map(lambda count: timedelta(hours=count))
_LEASES: Final = st.sampled_from([timedelta(hours=3), timedelta(hours=6)])
_WORKERS: Final = st.sampled_from(["ann", "bob"])
_NAMES: Final = ["mail", "Mail", "bill "]
_QUEUES: Final = ["default", "slow"]
_MODES: Final = [TaskExecutionMode.async_, TaskExecutionMode.thread]
_ENDS: Final = [status for status in TaskStatus if status is not TaskStatus.started]
_TEXTS: Final = st.sampled_from([None, "no\0 \ud800", "Traceback"])
_COUNTS: Final = st.sampled_from([None, 0, 2])


def hold_against_model(
    new_storage: Callable[[], OpenBackend], *, examples: int = 50, steps: int = 40
) -> None:
    """Do the same, at random, to a backend and to the model, and compare all answers and all tasks.

    Args:
        new_storage: makes a new, empty storage, and answers what gives handles to it.
        examples: how many stories to try.
        steps: how long each may be.
    """
    machine = type("Machine", (_Machine,), {"new_storage": staticmethod(new_storage)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            # Making a story shorter takes minutes where each step is a call to a database; forty steps can be read.
            phases=[phase for phase in Phase if phase is not Phase.shrink],
            suppress_health_check=list(HealthCheck),
        ),
    )


@st.composite
def _new_tasks(draw: st.DrawFn) -> dict[str, Any]:
    until = draw(st.sampled_from(UniqueUntil))
    period = timedelta(hours=2) if until is UniqueUntil.period else None
    key = draw(st.sampled_from([None, None, "order-7", "Order-7"]))
    return {
        "name": draw(st.sampled_from(_NAMES)),
        "queue": draw(st.sampled_from(_QUEUES)),
        "mode": draw(st.sampled_from(_MODES)),
        "priority": draw(st.integers(-1, 1)),
        "delay": draw(_HOURS),
        "overdue_after": draw(st.none() | _HOURS),
        "payload": draw(st.binary(max_size=4)),
        "unique": None if key is None else UniqueKey(key=key, until=until, period=period),
    }


@st.composite
def _requests(draw: st.DrawFn) -> ClaimRequest:
    return ClaimRequest(
        worker=draw(_WORKERS),
        lease=draw(_LEASES),
        slots=draw(st.dictionaries(st.sampled_from(_MODES), st.integers(0, 2), max_size=2)),
        names=draw(st.frozensets(st.sampled_from(_NAMES))),
        queues=draw(st.none() | st.frozensets(st.sampled_from(_QUEUES))),
    )


@st.composite
def _changes(draw: st.DrawFn) -> dict[str, Any]:
    guard = draw(st.sampled_from(Guard))
    status = draw(st.none() | st.sampled_from(_ENDS))
    if status is None:
        return {"guard": guard, "cancel_requested": draw(st.booleans())}
    return {
        "guard": guard,
        "status": status,
        "delay": draw(_HOURS),
        "raise_run": draw(st.booleans()) and guard in (Guard.resting, Guard.waiting),
        "overdue_after": draw(st.none() | _HOURS),
        "failures": draw(_COUNTS),
        "crashes": draw(_COUNTS),
        "interruptions": draw(_COUNTS),
        "result": draw(st.none() | st.binary(max_size=4)),
        "error": draw(_TEXTS),
        "reason": draw(_TEXTS),
    }


@st.composite
def _queries(draw: st.DrawFn) -> TaskQuery:
    some = st.none() | st.frozensets(st.sampled_from([guard for guard in Guard if guard is not Guard.holder]))
    return TaskQuery(
        statuses=draw(st.none() | st.frozensets(st.sampled_from(TaskStatus))),
        names=draw(st.none() | st.frozensets(st.sampled_from(_NAMES))),
        queues=draw(st.none() | st.frozensets(st.sampled_from(_QUEUES))),
        guards=draw(some),
        after_id=draw(st.integers(0, 6)),
        limit=draw(st.integers(1, 4)),
    )


class _Machine(RuleBasedStateMachine):
    """Two handles to one storage, used in turn, beside the model; lives in one thread, on a loop of its own."""

    new_storage: Callable[[], OpenBackend]

    def __init__(self) -> None:
        super().__init__()
        self._open = type(self).new_storage()
        self._clock = ManualClock()
        self._model = Model()
        self._runner = asyncio.Runner()
        self._handles: list[BaseCRUD] = []
        self._last_id = 0

    @initialize()
    def start(self) -> None:
        """Open both handles."""
        first = self._open(self._clock)
        self._handles = [first, first.twin()]
        for handle in self._handles:
            self._run(handle.startup())

    def teardown(self) -> None:
        """Close them."""
        for handle in self._handles:
            self._run(handle.shutdown())
        self._runner.close()

    @rule(tasks=st.lists(_new_tasks(), min_size=1, max_size=3))
    def add(self, tasks: list[dict[str, Any]]) -> None:
        """Launch some tasks."""
        news = [NewTask(id=self._next_id(), token=f"token-{self._last_id}", **task) for task in tasks]
        assert list(self._run(self._handle().add_tasks(news))) == self._model.add(news, self._now())

    @rule(task=_new_tasks(), back=st.integers(0, 3), same=st.booleans())
    def add_again(self, task: dict[str, Any], back: int, same: bool) -> None:
        """Launch under an id that may be taken, by this very launch or by another."""
        id = max(1, self._last_id - back)
        news = [NewTask(id=id, token=f"token-{id}" if same else "another", **task)]
        assert list(self._run(self._handle().add_tasks(news))) == self._model.add(news, self._now())

    @rule(request=_requests())
    def claim(self, request: ClaimRequest) -> None:
        """Claim for a worker."""
        claims = self._run(self._handle().claim_tasks(request))
        expected = self._model.claim(request, self._now())
        _assert_same(claims.tasks, expected.tasks)
        assert _near(claims.next_due, expected.next_due)

    @rule(place=st.integers(0, 20), change=_changes(), worker=_WORKERS, behind=st.sampled_from([0, 0, 0, 1]))
    def change(self, place: int, change: dict[str, Any], worker: str, behind: int) -> None:
        """Try to change a task, in its present run or in one that is over."""
        task = self._pick(place)
        run = 0 if task is None else max(0, task.run - behind)
        holder = worker if change["guard"] is Guard.holder else None
        changes = [Change(id=task.id if task else 999, run=run, worker=holder, **change)]
        answers = self._run(self._handle().change_tasks(changes))
        assert list(answers) == self._model.change(changes, self._now())

    @rule(worker=_WORKERS, lease=_LEASES, behind=st.sampled_from([0, 0, 0, 1]))
    def renew(self, worker: str, lease: timedelta, behind: int) -> None:
        """Try to renew every lease there is, whoever holds it."""
        renewals = [Renewal(id=task.id, run=max(0, task.run - behind)) for task in self._model.tasks.values()]
        request = RenewRequest(worker=worker, lease=lease, renewals=renewals)
        answers = self._run(self._handle().renew_leases(request))
        assert list(answers) == self._model.renew(request, self._now())

    @rule(query=_queries())
    def find(self, query: TaskQuery) -> None:
        """Find some."""
        found = self._run(self._handle().find_tasks(query))
        _assert_same(found, self._model.find(query, self._now()))

    @rule(places=st.lists(st.integers(0, 20), max_size=4))
    def delete(self, places: list[int]) -> None:
        """Try to delete some."""
        picked = [task.id for place in places if (task := self._pick(place)) is not None]
        assert self._run(self._handle().delete_tasks(picked)) == self._model.delete(picked, self._now())

    @rule(times=st.integers(1, 3))
    def shift(self, times: int) -> None:
        """Let time pass."""
        self._clock.shift(minutes=61 * times)

    @rule()
    def restart(self) -> None:
        """Close a handle and open it again."""
        self._run(self._handles[-1].shutdown())
        self._run(self._handles[-1].startup())

    @invariant()
    def all_is_the_same(self) -> None:
        """What is stored is what the model says."""
        if self._handles:
            everything = TaskQuery(limit=1000)
            found = self._run(self._handle().find_tasks(everything))
            _assert_same(found, self._model.find(everything, self._now()))

    def _run(self, operation: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(operation)

    def _handle(self) -> BaseCRUD:
        self._handles.reverse()
        return self._handles[0]

    def _now(self) -> datetime:
        return self._clock.now()

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    def _pick(self, place: int) -> StoredTask | None:
        tasks = list(self._model.tasks.values())
        return tasks[place % len(tasks)] if tasks else None


_INSTANTS: Final = ("eta", "deadline", "lease_end", "created", "started", "finished")


def _assert_same(found: Sequence[StoredTask], expected: Sequence[StoredTask]) -> None:
    assert [task.id for task in found] == [task.id for task in expected]
    for task, twin in zip(found, expected, strict=True):
        for name in StoredTask.__struct_fields__:
            value, wanted = getattr(task, name), getattr(twin, name)
            same = _near(value, wanted) if name in _INSTANTS else value == wanted
            assert same, f"task {task.id}: {name} is {value!r}, not {wanted!r}"


def _near(value: Any, wanted: Any) -> bool:
    if value is None or wanted is None:
        return value is wanted
    return bool(abs(value - wanted) < _SLACK)
