"""What becomes of a task, as a table: after success, failure, crash, deadline, shutdown, and by hand."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any, NamedTuple

import pytest

from kapusta import Backoff, OnCrash, TaskStatus
from kapusta._backoff import as_backoff
from kapusta._enums import TRANSITIONS
from kapusta._options import Policy
from kapusta._outcomes import (
    MOST,
    UNREADABLE_DELAY,
    cancelled,
    crashed,
    failed,
    interrupted,
    overdue,
    released,
    rescued,
    retried,
    stopped,
    succeeded,
    uncommitted,
    unreadable,
    will_retry,
)
from kapusta._records import Change, Guard, StoredTask
from tests.core.example_task import NOW, stored_task

TEN = timedelta(seconds=10)
PLAIN = Policy()
RETRIES = Policy(max_retry_attempts=2, backoff=Backoff(initial=TEN, factor=2.0, jitter=False))
JITTER = Policy(max_retry_attempts=2, backoff=Backoff(initial=TEN))
HOLD = Policy(on_crash=OnCrash.hold)
FOR_EVER = Policy(max_crashes=None)
STEADY = Policy(max_crashes=None, backoff=Backoff(initial=TEN, factor=2.0, jitter=False))
NO_PAUSE = Policy(max_crashes=None, backoff=as_backoff("backoff", None))
DEADLINE = Policy(overdue_time=timedelta(hours=1))

STARTED, PENDING, HELD = TaskStatus.started, TaskStatus.pending, TaskStatus.held


def fails(
    policy: Policy, status: Any = TaskStatus.error, chance: float = 0.5
) -> Callable[[StoredTask], Change]:
    """A failure at noon."""
    return lambda task: failed(task, policy, status, "the traceback", chance=chance, now=NOW)


class Row(NamedTuple):
    """A decision: what it is about, the task, what is decided, and what the change must say."""

    about: str
    task: StoredTask
    decide: Callable[[StoredTask], Change]
    expected: dict[str, Any]


TABLE = [
    Row(
        "success",
        stored_task(crashes=2, failures=1, error="of the attempt before"),
        lambda task: succeeded(task, b"42"),
        {"status": TaskStatus.success, "result": b"42", "crashes": 0, "failures": None, "error": None},
    ),
    Row(
        "success without a result",
        stored_task(),
        lambda task: succeeded(task, None, "it cannot be encoded"),
        {"status": TaskStatus.success, "result": None, "reason": "it cannot be encoded"},
    ),
    Row(
        "success with a result that arrives as something else",
        stored_task(),
        lambda task: succeeded(task, b'{"1":2}', "its result would arrive changed"),
        {
            "status": TaskStatus.success,
            "result": b'{"1":2}',
            "reason": "its result would arrive changed",
            "crashes": 0,
            "error": None,
        },
    ),
    Row(
        "failure, no retry asked for",
        stored_task(crashes=1),
        fails(PLAIN),
        {"status": TaskStatus.error, "error": "the traceback", "failures": 1, "crashes": 0, "reason": None},
    ),
    Row(
        "first failure of three attempts",
        stored_task(),
        fails(RETRIES),
        {"status": PENDING, "delay": TEN, "failures": 1, "reason": "attempt 1 ended as 'error'; 2 left"},
    ),
    Row(
        "second failure, by timeout: twice the delay",
        stored_task(failures=1),
        fails(RETRIES, TaskStatus.timeout),
        {
            "status": PENDING,
            "delay": 2 * TEN,
            "failures": 2,
            "reason": "attempt 2 ended as 'timeout'; 1 left",
        },
    ),
    Row(
        "third failure: no attempt is left",
        stored_task(failures=2),
        fails(RETRIES, TaskStatus.timeout),
        {"status": TaskStatus.timeout, "error": "the traceback", "failures": 3, "delay": timedelta(0)},
    ),
    Row("chance draws the delay", stored_task(), fails(JITTER, chance=0.25), {"delay": TEN / 4}),
    Row(
        "a retry just before the deadline",
        stored_task(deadline=NOW + TEN + timedelta(microseconds=1)),
        fails(RETRIES),
        {"status": PENDING, "delay": TEN},
    ),
    Row(
        "a retry at the deadline could never start",
        stored_task(deadline=NOW + TEN),
        fails(RETRIES),
        {"status": TaskStatus.error, "reason": "attempt 2 would have come after the deadline", "failures": 1},
    ),
    Row(
        "crash",
        stored_task(error="of the attempt before", failures=1),
        lambda task: crashed(task, PLAIN, "the child died"),
        {
            "status": PENDING,
            "crashes": 1,
            "failures": None,
            "delay": timedelta(0),
            "reason": "the child died",
        },
    ),
    Row(
        "crash keeps the last error",
        stored_task(error="of the attempt before"),
        lambda task: crashed(task, PLAIN, "the child died"),
        {"error": "of the attempt before"},
    ),
    Row(
        "third crash in a row",
        stored_task(crashes=2),
        lambda task: crashed(task, PLAIN, "the child died"),
        {"status": HELD, "crashes": 3, "reason": "the child died; that was crash 3 in a row, max_crashes=3"},
    ),
    Row(
        "hundredth crash without a limit",
        stored_task(crashes=99),
        lambda task: crashed(task, FOR_EVER, "the child died"),
        {"status": PENDING, "crashes": 100},
    ),
    Row(
        "crash of a task that is to be held",
        stored_task(),
        lambda task: crashed(task, HOLD, "the child died"),
        {
            "status": HELD,
            "crashes": 1,
            "reason": "the child died; on_crash='hold': whether its work is done is for a person to say",
        },
    ),
    Row(
        "a commit that failed is a crash with a pause, and its exception is named",
        stored_task(failures=1, crashes=1),
        lambda task: uncommitted(task, STEADY, "ConnectionError: gone", error="the traceback", chance=0.5),
        {
            "status": PENDING,
            "crashes": 2,
            "failures": None,
            "delay": 2 * TEN,
            "error": "the traceback",
            "reason": "the transaction of its outcome did not commit; its body raised ConnectionError: gone",
        },
    ),
    Row(
        "a rollback without a word keeps the last error",
        stored_task(error="of the attempt before"),
        lambda task: uncommitted(task, STEADY, None, error=None, chance=0.5),
        {
            "delay": TEN,
            "error": "of the attempt before",
            "reason": "the transaction of its outcome did not commit",
        },
    ),
    Row(
        "a commit that fails for ever does not spin where no pause was wanted",
        stored_task(crashes=3),
        lambda task: uncommitted(task, NO_PAUSE, None, error=None, chance=0.5),
        {"status": PENDING, "delay": timedelta(seconds=4)},
    ),
    Row(
        "a commit that failed for the third time",
        stored_task(crashes=2),
        lambda task: uncommitted(task, PLAIN, "ConnectionError: gone", error="the traceback", chance=0.5),
        {"status": HELD, "crashes": 3, "delay": timedelta(0)},
    ),
    Row(
        "lease ran out",
        stored_task(),
        lambda task: rescued(task, PLAIN, chance=0.5),
        {
            "status": PENDING,
            "guard": Guard.expired,
            "worker": None,
            "crashes": 1,
            "delay": timedelta(0),
            "reason": "worker worker-1 let the lease of run 1 run out",
        },
    ),
    Row(
        "lease ran out again: what was lost together comes back one by one",
        stored_task(crashes=1, lease=timedelta(seconds=30)),
        lambda task: rescued(task, PLAIN, chance=0.5),
        {"status": PENDING, "crashes": 2, "delay": timedelta(seconds=15)},
    ),
    Row(
        "lease ran out more often than anybody counts",
        stored_task(crashes=MOST),
        lambda task: rescued(task, FOR_EVER, chance=0.5),
        {"status": PENDING, "crashes": MOST},
    ),
    Row(
        "lease ran out, hold",
        stored_task(),
        lambda task: rescued(task, HOLD, chance=0.5),
        {"status": HELD, "guard": Guard.expired, "crashes": 1},
    ),
    Row(
        "lease ran out under a task that was to be cancelled",
        stored_task(cancel_requested=True),
        lambda task: rescued(task, PLAIN, chance=0.5),
        {"status": TaskStatus.cancelled, "reason": "cancelled while its worker was lost"},
    ),
    Row(
        "the same where a crash would hold it",
        stored_task(cancel_requested=True),
        lambda task: rescued(task, HOLD, chance=0.5),
        {"status": TaskStatus.cancelled},
    ),
    Row(
        "unreadable",
        stored_task(),
        lambda task: unreadable(task, PLAIN, "no such parameter"),
        {"status": PENDING, "delay": UNREADABLE_DELAY, "crashes": 1, "reason": "no such parameter"},
    ),
    Row(
        "unreadable comes back even where a crash would hold it: no body had begun",
        stored_task(),
        lambda task: unreadable(task, HOLD, "no such parameter"),
        {"status": PENDING, "delay": UNREADABLE_DELAY},
    ),
    Row(
        "unreadable for the third time",
        stored_task(crashes=2),
        lambda task: unreadable(task, PLAIN, "no such parameter"),
        {"status": HELD, "crashes": 3, "reason": "no such parameter"},
    ),
    Row(
        "shutdown costs nothing",
        stored_task(failures=1, crashes=1),
        lambda task: interrupted(task, PLAIN, "shutdown"),
        {"status": PENDING, "interruptions": 1, "failures": None, "crashes": None, "delay": timedelta(0)},
    ),
    Row(
        "shutdown of a task that is to be held is a crash",
        stored_task(),
        lambda task: interrupted(task, HOLD, "shutdown"),
        {"status": HELD, "crashes": 1, "interruptions": None},
    ),
    Row(
        "released",
        stored_task(error="of the attempt before"),
        lambda task: released(task, "its worker stopped"),
        {
            "status": PENDING,
            "failures": None,
            "crashes": None,
            "interruptions": None,
            "error": "of the attempt before",
        },
    ),
    Row(
        "stopped because it was cancelled",
        stored_task(),
        lambda task: stopped(task, "cancelled while it ran"),
        {"status": TaskStatus.cancelled, "reason": "cancelled while it ran"},
    ),
    Row(
        "deadline passed",
        stored_task(status=PENDING, worker=None, deadline=NOW),
        overdue,
        {
            "status": TaskStatus.overdue,
            "guard": Guard.overdue,
            "worker": None,
            "reason": "it had not started by 2026-05-17 12:00:00 UTC",
        },
    ),
    Row(
        "cancelled by hand",
        stored_task(status=PENDING, failures=1),
        cancelled,
        {"status": TaskStatus.cancelled, "guard": Guard.waiting, "raise_run": False, "failures": None},
    ),
    Row(
        "cancelled by hand while held: no late answer counts",
        stored_task(HOLD, status=HELD, crashes=1),
        cancelled,
        {"status": TaskStatus.cancelled, "raise_run": True, "failures": 0, "crashes": 0, "interruptions": 0},
    ),
    *(
        Row(
            f"{what} by hand while held, settled in run {settled_run}: it asks for what could still be answered",
            stored_task(HOLD, status=HELD, crashes=1, settled_run=settled_run),
            decide,
            {"guard": guard, "worker": worker, "raise_run": True},
        )
        for what, decide in (("cancelled", cancelled), ("retried", lambda task: retried(task, HOLD)))
        for settled_run, guard, worker in ((None, Guard.holder, "worker-1"), (1, Guard.waiting, None))
    ),
    *(
        Row(
            f"retried by hand after {status}",
            stored_task(DEADLINE, status=status, failures=3, crashes=2, interruptions=1, error="old"),
            lambda task: retried(task, DEADLINE),
            {
                "status": PENDING,
                "guard": Guard.holder if status is HELD else Guard.resting,
                "raise_run": True,
                "delay": timedelta(0),
                "overdue_after": timedelta(hours=1),
                "failures": 0,
                "crashes": 0,
                "interruptions": 0,
            },
        )
        for status in TaskStatus
        if status not in (STARTED, PENDING)
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=[row.about for row in TABLE])
def test_a_decision(row: Row) -> None:
    """Each row: what is written about the task, and what is left as it is."""
    change = row.decide(row.task)

    assert {name: getattr(change, name) for name in row.expected} == row.expected


@pytest.mark.parametrize("row", TABLE, ids=[row.about for row in TABLE])
def test_every_decision_is_a_legal_transition_of_this_very_run(row: Row) -> None:
    """No decision leads where the state machine does not, or speaks of another run than it was made for."""
    change = row.decide(row.task)

    assert change.status in TRANSITIONS[row.task.status]
    assert (change.id, change.run) == (row.task.id, row.task.run)
    assert change.worker == (row.task.worker if change.guard is Guard.holder else None)


def test_every_status_can_be_left_and_reached() -> None:
    """The table of transitions covers every status, and nothing but a launch leads from nowhere."""
    assert set(TRANSITIONS) == set(TaskStatus)
    assert all(TRANSITIONS.values())
    assert set().union(*TRANSITIONS.values()) == set(TaskStatus)


@pytest.mark.parametrize(("failures", "left"), [(0, True), (1, True), (2, False), (3, False)])
def test_whether_a_failure_now_would_leave_a_retry(failures: int, *, left: bool) -> None:
    """A thread that outlived its timeout is waited for exactly if the same task may start again."""
    assert will_retry(stored_task(failures=failures), RETRIES) is left


@pytest.mark.parametrize(
    "options",
    [
        b"",
        b"nonsense",
        b'{"timeout": -5, "max_retry_attempts": "x"}',
        b"\xff",
        b'{"unknown": ' + b"[" * 100_000,
        "{",
        5,
        1.5,
        None,
    ],
    ids=range(9),
)
def test_a_policy_that_cannot_be_read_lets_nothing_run_twice(options: Any) -> None:
    """A row that somebody has broken by hand does not stop a worker's loop, and is not taken for one that may be repeated."""
    assert Policy.read(options) == Policy(on_crash=OnCrash.hold)
