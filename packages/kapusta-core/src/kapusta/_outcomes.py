"""What becomes of a task: after success, failure, crash, deadline, shutdown, and by hand.

Every decision is a pure function from a stored task to the one `Change` that carries it out, and is made
here and nowhere else. Randomness and the store's now come in as arguments.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final, Literal

from ._backoff import Backoff
from ._clock import ZERO
from ._enums import OnCrash, TaskStatus
from ._options import Policy
from ._records import Change, Guard, StoredTask

MOST: Final = (1 << 31) - 1
"""What a counter of crashes, failures or interruptions grows to at most."""
UNREADABLE_DELAY: Final = timedelta(minutes=1)
"""How long a task waits whose payload a worker could not read: another version may come by."""

Failure = Literal[TaskStatus.error, TaskStatus.timeout]


def _by_holder(task: StoredTask, status: TaskStatus, **fields: object) -> Change:
    return Change(
        id=task.id,
        run=task.run,
        guard=Guard.holder,
        worker=task.worker,
        status=status,
        **fields,  # type: ignore[arg-type]  # Change checks them
    )


# --- a run that came to its end ---------------------------------------------------------------------


def succeeded(task: StoredTask, result: bytes | None, reason: str | None = None) -> Change:
    """The function returned; *reason* says why there is no result, or how it would arrive as something else."""
    return Change(
        id=task.id,
        run=task.run,
        guard=Guard.holder,
        worker=task.worker,
        status=TaskStatus.success,
        result=result,
        reason=reason,
        crashes=0,
    )


def failed(
    task: StoredTask, policy: Policy, status: Failure, error: str, *, chance: float, now: datetime
) -> Change:
    """The function raised, or took too long: try again later, or end.

    A retry that could not start before the deadline ends as its failure now.
    """
    failures = _one_more(task.failures)
    if failures > policy.max_retry_attempts:
        return _by_holder(task, status, error=error, failures=failures, crashes=0)
    delay = policy.backoff.delay(failures, chance)
    if task.deadline is not None and now + delay >= task.deadline:
        reason = f"attempt {failures + 1} would have come after the deadline"
        return _by_holder(task, status, error=error, failures=failures, crashes=0, reason=reason)
    return _by_holder(
        task,
        TaskStatus.pending,
        delay=delay,
        error=error,
        failures=failures,
        crashes=0,
        reason=f"attempt {failures} ended as '{status}'; {policy.max_retry_attempts - failures + 1} left",
    )


def will_retry(task: StoredTask, policy: Policy) -> bool:
    """Whether a failure now would leave a retry."""
    return task.failures < policy.max_retry_attempts


# --- a run that nobody asked to end -----------------------------------------------------------------


def crashed(task: StoredTask, policy: Policy, reason: str, *, error: str | None = None) -> Change:
    """Its run came to nothing although its worker lives: a child that died, a lease that ended."""
    status, why = _after_crash(task, policy, reason)
    return _by_holder(task, status, crashes=_one_more(task.crashes), error=error or task.error, reason=why)


def uncommitted(
    task: StoredTask, policy: Policy, cause: str | None, *, error: str | None, chance: float
) -> Change:
    """The transaction of its outcome did not commit: a crash, and what is to follow waits.

    Whatever kept the commit from succeeding, as a link or a constraint, does so a moment later as well. The pause is
    that of as many failures; the usual one where the task wants none, as crashes may be without limit.
    """
    reason = "the transaction of its outcome did not commit"
    change = crashed(
        task, policy, f"{reason}; its body raised {cause}" if cause is not None else reason, error=error
    )
    if change.status is not TaskStatus.pending:
        return change
    wanted = policy.backoff
    backoff = wanted if min(wanted.initial, wanted.maximum) > ZERO else Backoff()
    return change.replace(delay=backoff.delay(task.crashes + 1, chance))


def rescued(task: StoredTask, policy: Policy, *, chance: float) -> Change:
    """The lease ran out: whoever held it is gone, or has been cut off.

    All that a worker held comes back together, and with it what may have killed it. After the first time the tasks
    come back one by one, spread over a lease by *chance* (0 to 1), so that they do not share the killer's fate again.
    """
    status, why = _after_crash(task, policy, f"worker {task.worker} let the lease of run {task.run} run out")
    if task.cancel_requested:
        status, why = TaskStatus.cancelled, "cancelled while its worker was lost"
    return Change(
        id=task.id,
        run=task.run,
        guard=Guard.expired,
        status=status,
        delay=chance * (task.lease or ZERO) if task.crashes and status is TaskStatus.pending else ZERO,
        crashes=_one_more(task.crashes),
        error=task.error,
        reason=why,
    )


def untouched(task: StoredTask) -> Change:
    """Nothing but the question whether it could be rescued now: not while somebody has its row locked."""
    return Change(id=task.id, run=task.run, guard=Guard.expired, cancel_requested=task.cancel_requested)


def unreadable(task: StoredTask, policy: Policy, problem: str) -> Change:
    """This worker cannot turn the stored payload into a call: a crash, whatever ``on_crash`` says."""
    crashes = _one_more(task.crashes)
    if _too_many(crashes, policy):
        return _by_holder(task, TaskStatus.held, crashes=crashes, error=task.error, reason=problem)
    return _by_holder(
        task, TaskStatus.pending, delay=UNREADABLE_DELAY, crashes=crashes, error=task.error, reason=problem
    )


def interrupted(task: StoredTask, policy: Policy, reason: str) -> Change:
    """A shutdown stopped the body: with ``retry`` it costs nothing; to ``hold`` it is a crash like any other."""
    if policy.on_crash is OnCrash.hold:
        return crashed(task, policy, reason)
    return _by_holder(
        task, TaskStatus.pending, interruptions=_one_more(task.interruptions), error=task.error, reason=reason
    )


def released(task: StoredTask, reason: str) -> Change:
    """It was claimed and its body never began: as if nothing had been."""
    return _by_holder(task, TaskStatus.pending, error=task.error, reason=reason)


def stopped(task: StoredTask, reason: str) -> Change:
    """Its body was stopped because somebody had cancelled it."""
    return _by_holder(task, TaskStatus.cancelled, reason=reason)


def _after_crash(task: StoredTask, policy: Policy, reason: str) -> tuple[TaskStatus, str]:
    crashes = _one_more(task.crashes)
    if policy.on_crash is OnCrash.hold:
        return TaskStatus.held, f"{reason}; on_crash='hold': whether its work is done is for a person to say"
    if _too_many(crashes, policy):
        return (
            TaskStatus.held,
            f"{reason}; that was crash {crashes} in a row, max_crashes={policy.max_crashes}",
        )
    return TaskStatus.pending, reason


def _one_more(count: int) -> int:
    """What a counter grows to; every store can keep it, whatever somebody has written into a row."""
    return min(count + 1, MOST)


def _too_many(crashes: int, policy: Policy) -> bool:
    return policy.max_crashes is not None and crashes >= policy.max_crashes


# --- a task that waits ------------------------------------------------------------------------------


def overdue(task: StoredTask) -> Change:
    """Its deadline came before a worker did."""
    reason = f"it had not started by {task.deadline:%Y-%m-%d %H:%M:%S} UTC"
    return Change(
        id=task.id,
        run=task.run,
        guard=Guard.overdue,
        status=TaskStatus.overdue,
        error=task.error,
        reason=reason,
    )


# --- by hand ----------------------------------------------------------------------------------------


def cancelled(task: StoredTask) -> Change:
    """Somebody cancels a task that is not running; a held one also gets a new life, so that no late answer counts."""
    held = task.status is TaskStatus.held
    guard, worker = _as_it_rests(task)
    return Change(
        id=task.id,
        run=task.run,
        guard=guard,
        worker=worker,
        status=TaskStatus.cancelled,
        raise_run=held,
        overdue_after=Policy.read(task.options).overdue_time,
        failures=0 if held else None,
        crashes=0 if held else None,
        interruptions=0 if held else None,
        error=task.error,
        reason="cancelled by hand",
    )


def retried(task: StoredTask, policy: Policy) -> Change:
    """Somebody gives a task that is not running another life, due at once."""
    guard, worker = _as_it_rests(task)
    return Change(
        id=task.id,
        run=task.run,
        guard=guard,
        worker=worker,
        status=TaskStatus.pending,
        delay=ZERO,
        raise_run=True,
        overdue_after=policy.overdue_time,
        reason="retried by hand",
        failures=0,
        crashes=0,
        interruptions=0,
    )


def _as_it_rests(task: StoredTask) -> tuple[Guard, str | None]:
    """What must hold for a decision by hand: that its status is, in effect, the one that it was decided on.

    One that waits may become overdue, or be cancelled by somebody else, in its very run; what has ended leaves its
    status for another life only. A task that is held by its crash may yet get the answer of that very run. What was
    decided of it as it was held must not touch it then, and the claim that the answer needs is what tells.
    """
    if task.status is TaskStatus.held and task.worker is not None and task.settled_run != task.run:
        return Guard.holder, task.worker
    return Guard.resting if task.status.is_final else Guard.waiting, None
