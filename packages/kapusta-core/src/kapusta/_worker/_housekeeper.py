"""Chores with a period."""

from __future__ import annotations

import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final

import msgspec

from .._clock import Clock
from .._enums import TaskStatus
from .._errors import StoreUnavailableError
from .._options import Policy
from .._outcomes import overdue, rescued, untouched
from .._records import Change, ChangeAnswer, Guard, StoredTask, TaskQuery
from .._store import Store
from ..types import TaskId
from ._changing import change_apart
from ._reporting import Reporter
from ._supervisor import Failures

_Claim = tuple[TaskId, int]

PAGE: Final = 100
_LONG_LEASE: Final = timedelta(seconds=10)


def rescue_checks(lease: timedelta) -> int:
    """Return the number of checks per lease for tasks whose worker has died.

    A task can be rescued 4/3 of a lease after its last renewal. With the check after that, and the second one that
    takes it (1.5 s later, a quarter of a short lease), it is rescued within two leases: 4/3 + 1/2 of a lease + 1.5 s,
    or 4/3 + 1/3 + 1/4 of a short one. Each check is a transaction of an idle worker.
    """
    return 2 if lease >= _LONG_LEASE else 3


class Chore(msgspec.Struct, frozen=True):
    """Something to be done from time to time.

    Attributes:
        do: answers whether it has found what it must come back for, and soon.
        soon: how long after that it is done again, instead of after its period.
    """

    name: str
    period: timedelta
    do: Callable[[], Awaitable[bool]]
    soon: timedelta


class Housekeeper:
    """Does each chore when it is due; written by the worker's loop."""

    def __init__(self, chores: Sequence[Chore], clock: Clock) -> None:
        self._chores, self._clock = chores, clock
        self._due_at = dict.fromkeys((chore.name for chore in chores), clock.monotonic())

    async def run(self, failures: Failures) -> None:
        """Do chores for ever."""
        while True:
            for chore in self._chores:
                if self._due_at[chore.name] <= self._clock.monotonic():
                    again = chore.soon if await chore.do() else chore.period
                    failures.succeeded()
                    self._due_at[chore.name] = self._clock.monotonic() + again.total_seconds()
            await self._clock.sleep(min(self._due_at.values()) - self._clock.monotonic())

    async def do_all(self) -> None:
        """Do every chore now, and again until it finds no more that it must come back for."""
        for chore in self._chores:
            while await chore.do():
                if self._clock.moves_by_itself:
                    await self._clock.sleep(chore.soon.total_seconds())


class Rescuer:
    """Finds tasks whose lease or deadline has passed, decides, and changes them if that still holds.

    After an outage every lease may have ended, though its worker is alive and about to renew it: nothing is
    rescued before the store has been within reach for a whole lease. So it is with a lease that could not be
    written, whose row was locked, or the whole store, which could be read all the while: a task is rescued only
    if it could have been written *soon* before, or longer ago, and at each look since: its worker, which asks more
    often, has had its turn. Written by the loop of the worker, which may look twice at once.
    """

    def __init__(
        self,
        store: Store,
        lease: timedelta,
        changed: Callable[[Sequence[Change]], object],
        logger: logging.Logger,
        *,
        soon: timedelta,
    ) -> None:
        self._store, self._lease, self._changed, self._reporter = store, lease, changed, Reporter(logger)
        # Where time stands still between two looks there is nobody who could have a turn.
        self._soon = soon.total_seconds() if store.clock.moves_by_itself else 0.0
        self._free_since: dict[_Claim, float] = {}

    async def rescue(self) -> bool:
        """Look through all that is due to be rescued or to be overdue, a page at a time; whether some is left for soon."""
        guards = {Guard.overdue}
        if self._store.reach >= self._lease.total_seconds():
            guards.add(Guard.expired)
        after, kept = 0, None
        seen: set[_Claim] = set()
        try:
            while found := await self._store.find(
                TaskQuery(guards=frozenset(guards), after_id=after, limit=PAGE)
            ):
                seen.update((task.id, task.run) for task in found)
                kept = await self._change(found) or kept
                if len(found) < PAGE or (kept is not None and not kept.busy):
                    break
                after = found[-1].id
        finally:
            # What was not seen is somebody's again, or was not looked at: it is to be seen anew.
            for claim in self._free_since.keys() - seen:
                del self._free_since[claim]
        if kept is not None:
            raise kept
        return bool(self._free_since)

    async def _change(self, found: Sequence[StoredTask]) -> StoreUnavailableError | None:
        """Change what is to be changed now; answer what was in the way."""
        changes = [change for task in found if (change := self._decide(task)) is not None]
        if not changes:
            return None
        try:
            answers, trouble = await change_apart(self._store, changes)
        except StoreUnavailableError:
            for change in changes:
                self._free_since.pop((change.id, change.run), None)
            raise
        self._note(changes, answers, {task.id: task for task in found})
        return trouble

    def _decide(self, task: StoredTask) -> Change | None:
        """What is to become of it; ``None``: nothing yet."""
        if task.status is TaskStatus.pending:
            return overdue(task)
        since = self._free_since.get((task.id, task.run))
        if since is None:
            return untouched(task)
        if self._store.clock.monotonic() < since + self._soon:
            return None
        return rescued(task, Policy.read(task.options), chance=random.random())  # noqa: S311 - jitter

    def _note(
        self,
        changes: Sequence[Change],
        answers: Sequence[ChangeAnswer | None],
        tasks: Mapping[int, StoredTask],
    ) -> None:
        """What was refused is locked, or has been somebody else's business."""
        now = self._store.clock.monotonic()
        done = []
        for change, answer in zip(changes, answers, strict=True):
            claim = change.id, change.run
            if answer is ChangeAnswer.accepted and change.status is None:
                self._free_since.setdefault(claim, now)
                continue
            self._free_since.pop(claim, None)
            if answer is not ChangeAnswer.accepted:
                continue
            done.append(change)
            self._reporter.housekept(change, tasks[change.id])
        self._changed(done)
