"""What is asked of a store, and what it answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

import msgspec

from .._clock import ZERO
from .._enums import TaskExecutionMode, TaskStatus
from ._record import Record
from ._tasks import StoredTask

RESCUE_AFTER: Final = 3
"""A started task is rescued once a third (one in so many) of its lease has passed since the lease's end."""


class AddOutcome(StrEnum):
    """What became of a ``NewTask``.

    Attributes:
        new: stored now.
        again: stored before, by this very launch; nothing changed.
        key_in_use: not stored; ``Added.id`` is the task that uses the unique key.
        id_in_use: not stored; another launch has this id. Draw another.
    """

    new = "new"
    again = "again"
    key_in_use = "key_in_use"
    id_in_use = "id_in_use"


class Added(Record, frozen=True, kw_only=True):
    """The answer to one ``NewTask``."""

    id: int
    outcome: AddOutcome


class ClaimRequest(Record, frozen=True, kw_only=True):
    """What one worker can take now.

    Attributes:
        worker: the worker's id, random per start.
        lease: for how long it wants the tasks; more than zero.
        slots: how many it can take of each mode; a mode that is missing or has none is not taken.
        names: the names it knows.
        queues: the queues it serves; ``None``: all.
    """

    worker: str
    lease: timedelta
    slots: Mapping[TaskExecutionMode, int]
    names: frozenset[str]
    queues: frozenset[str] | None = None

    def __post_init__(self) -> None:
        if self.lease <= ZERO:
            raise ValueError(f"ClaimRequest(lease={self.lease}) is not more than zero")


class Claims(Record, frozen=True, kw_only=True):
    """The answer to a ``ClaimRequest``.

    Attributes:
        tasks: what was claimed, in the order in which to start it.
        now: the store's now at the claim.
        next_due: how long after ``now`` the next task comes due that this request could take and that
            is not due yet; ``None``: none is waiting.
    """

    tasks: Sequence[StoredTask]
    now: datetime
    next_due: timedelta | None


class Guard(StrEnum):
    """What must hold of a task, by the store's clock, besides the change's id and run.

    Attributes:
        holder: it is ``started``, or ``held`` by its own crash; ``worker`` is the change's worker; and this
            run has not been settled.
        expired: it is ``started``, and a third of its lease has passed since the lease's end.
        overdue: it is ``pending``, and its deadline has come.
        resting: it is not ``started``.
        running: it is ``started``.
        waiting: it is ``pending`` or ``held``.
    """

    holder = "holder"
    expired = "expired"
    overdue = "overdue"
    resting = "resting"
    running = "running"
    waiting = "waiting"


class Change(Record, frozen=True, kw_only=True):
    """A compare-and-set on one task: touches nothing unless id, run and guard hold.

    Where ``status`` is ``None`` only ``cancel_requested`` is written. Otherwise the status, ``result``,
    ``error`` and ``reason`` are written as given, and:

    - under the guard ``holder``, ``settled_run`` becomes ``run``;
    - ``pending``: the eta becomes the store's now plus ``delay``;
    - a final status: ``finished`` becomes the store's now; any other status clears it;
    - ``lease`` and ``lease_end`` are cleared, and so is ``cancel_requested``; ``worker`` stays;
    - a counter that is given is set.

    What some databases cannot keep in a text, NUL and half a surrogate pair, becomes its escape in ``error``
    and ``reason``.

    Attributes:
        worker: with the guard ``holder``, who claims to hold it.
        delay: zero or more.
        raise_run: begin another life: ``run`` grows by one, so that every earlier run is refused, and the
            deadline becomes the store's now plus ``overdue_after`` (zero or more; ``None``: no deadline).
        cancel_requested: ask the worker that runs it to stop.
    """

    id: int
    run: int
    guard: Guard
    worker: str | None = None
    status: TaskStatus | None = None
    delay: timedelta = ZERO
    raise_run: bool = False
    overdue_after: timedelta | None = None
    cancel_requested: bool = False
    failures: int | None = None
    crashes: int | None = None
    interruptions: int | None = None
    result: bytes | None = None
    error: str | None = None
    reason: str | None = None

    def __post_init__(self) -> None:
        if (self.worker is not None) != (self.guard is Guard.holder):
            raise ValueError(f"Change(worker=...) goes with guard=holder, not {self.guard}")
        if self.status is TaskStatus.started:
            raise ValueError("Change(status=started): only a claim starts a task")
        if self.delay < ZERO or (self.overdue_after is not None and self.overdue_after < ZERO):
            raise ValueError(
                f"Change(delay={self.delay}, overdue_after={self.overdue_after}) has a negative duration"
            )
        if self.error is None and self.reason is None:
            return
        for field, text in (("error", self.error), ("reason", self.reason)):
            if text is not None and not text.isprintable():
                msgspec.structs.force_setattr(self, field, _storable(text))


def _storable(text: str) -> str:
    return text.encode(errors="backslashreplace").decode().replace("\0", "\\x00")


class ChangeAnswer(StrEnum):
    """What became of a ``Change``.

    Attributes:
        accepted: it was written.
        already: this very run was settled before by this worker: a repeat after a lost reply.
        refused: the guard does not hold; nothing was written.
    """

    accepted = "accepted"
    already = "already"
    refused = "refused"


class Changed(Record, frozen=True, kw_only=True):
    """The answer to one ``Change``."""

    id: int
    answer: ChangeAnswer


class Renewal(Record, frozen=True, kw_only=True):
    """A lease to be extended."""

    id: int
    run: int


class RenewRequest(Record, frozen=True, kw_only=True):
    """The leases that one worker wants to keep.

    Attributes:
        lease: how long they are to last from the store's now; more than zero.
    """

    worker: str
    lease: timedelta
    renewals: Sequence[Renewal]

    def __post_init__(self) -> None:
        if self.lease <= ZERO:
            raise ValueError(f"RenewRequest(lease={self.lease}) is not more than zero")


class RenewAnswer(StrEnum):
    """What became of a ``Renewal``.

    Attributes:
        renewed: the lease is extended, even if it had ended, as long as nobody took the task.
        busy: the row is locked by somebody, and this run's still; the lease counts as held, ask again soon.
        lost: the task is not ``started`` in this run by this worker any more.
    """

    renewed = "renewed"
    busy = "busy"
    lost = "lost"


class Renewed(Record, frozen=True, kw_only=True):
    """The answer to one ``Renewal``; ``cancel_requested`` says whether somebody wants the task stopped."""

    id: int
    answer: RenewAnswer
    cancel_requested: bool = False


class Capabilities(Record, frozen=True, kw_only=True):
    """Facts about a backend, which laws and core ask for instead of its name.

    Attributes:
        shared_between_processes: other processes can see the same tasks.
        survives_restart: tasks are there after the last handle was shut down.
        joins_transactions: ``within`` writes into a transaction of the caller's.
        pushes_wakeups: ``listen`` tells of work that other handles have stored.
        starts_tasks: ``start_task`` stores and claims a new task in one write.
        time_resolution: instants closer than this may be stored as one.
        poll_interval: how often to look for other handles' work where nothing is pushed; ``None``: never
            sooner than ``next_due`` and the lease ask for.
    """

    shared_between_processes: bool = False
    survives_restart: bool = False
    joins_transactions: bool = False
    pushes_wakeups: bool = False
    starts_tasks: bool = False
    time_resolution: timedelta = timedelta(microseconds=1)
    poll_interval: timedelta | None = None
