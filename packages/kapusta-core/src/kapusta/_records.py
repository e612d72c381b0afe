"""What is asked of a backend, stored and answered.

All records are frozen and keyword-only. Instants are aware datetimes, kept in UTC; durations are
``timedelta``. Whoever makes a record from nonsense learns it at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final, Self

import msgspec

from ._clock import ZERO
from ._enums import TaskExecutionMode, TaskStatus

MAX_ID: Final = (1 << 63) - 1
MIN_PRIORITY: Final = -100
MAX_PRIORITY: Final = 100
RESCUE_AFTER: Final = 3
"""A started task is rescued once a third (one in so many) of its lease has passed since the lease's end."""


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """Base of all records."""

    def replace(self, **changes: Any) -> Self:
        """A copy in which these fields have other values."""
        return msgspec.structs.replace(self, **changes)


class UniqueUntil(StrEnum):
    """How long a unique key stays in use.

    Attributes:
        started: while the task that took it is ``pending``.
        finished: until that task has reached a final status.
        period: for ``UniqueKey.period`` from the launch.
        forever: for ever.
    """

    started = "started"
    finished = "finished"
    period = "period"
    forever = "forever"


class UniqueKey(Record, frozen=True, kw_only=True):
    """A key that at most one task may use at a time.

    Attributes:
        key: any text, compared code point by code point.
        until: how long the key stays in use.
        period: with ``until=period``, how long; else ``None``.
    """

    key: str
    until: UniqueUntil = UniqueUntil.finished
    period: timedelta | None = None

    def __post_init__(self) -> None:
        if (self.period is not None) != (self.until is UniqueUntil.period):
            raise ValueError(f"UniqueKey(period=...) goes with until=period, not {self.until}")


class NewTask(Record, frozen=True, kw_only=True):
    """A task to be stored.

    Attributes:
        id: made by the launcher, 1 to 2**63 - 1.
        token: random text, made with the id: the same id under another token is another launch.
        name: the task's stored name.
        payload: the encoded arguments.
        codec: the name of what encoded them.
        mode: where the body runs.
        queue: which queue it waits in.
        priority: -100 to 100, higher first.
        eta: when it is due; ``None``: the store's now plus ``delay``.
        delay: zero or more; counts only where ``eta`` is ``None``.
        overdue_after: the deadline is the store's now plus this; ``None``: no deadline.
        options: what only core reads, encoded.
        unique: a key that no other task may be using.
    """

    id: int
    token: str
    name: str
    payload: bytes
    codec: str = "json"
    mode: TaskExecutionMode = TaskExecutionMode.sync
    queue: str = "default"
    priority: int = 0
    eta: datetime | None = None
    delay: timedelta = ZERO
    overdue_after: timedelta | None = None
    options: bytes = b"{}"
    unique: UniqueKey | None = None

    def __post_init__(self) -> None:
        if not 0 < self.id <= MAX_ID:
            raise ValueError(f"NewTask(id={self.id}) is not between 1 and {MAX_ID}")
        if not MIN_PRIORITY <= self.priority <= MAX_PRIORITY:
            raise ValueError(
                f"NewTask(priority={self.priority}) is not between {MIN_PRIORITY} and {MAX_PRIORITY}"
            )
        if self.eta is not None and self.eta.tzinfo is None:
            raise ValueError(f"NewTask(eta={self.eta}) is naive")
        if self.delay < ZERO:
            raise ValueError(f"NewTask(delay={self.delay}) is negative")


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
        lease: for how long it wants the tasks.
        slots: how many it can take of each mode; a mode that is missing or has none is not taken.
        names: the names it knows.
        queues: the queues it serves; ``None``: all.
    """

    worker: str
    lease: timedelta
    slots: Mapping[TaskExecutionMode, int]
    names: frozenset[str]
    queues: frozenset[str] | None = None


class StoredTask(Record, frozen=True, kw_only=True):
    """A task as the store has it.

    Attributes:
        eta: when it is or was due.
        deadline: it must not start at or after this.
        run: the fencing token: how many claims there have been, plus one per life given by hand.
        worker: who claimed it last.
        lease: for how long the last claim or renewal took it; only while ``started``, like ``lease_end``.
        lease_end: until when.
        settled_run: the last run whose outcome was accepted from its holder.
        failures: exceptions and timeouts, in this life.
        crashes: ends that nobody asked for, in a row.
        interruptions: stops by a shutdown.
        cancel_requested: somebody wants the running task to stop.
        result: the encoded result.
        error: the traceback of the last exception.
        reason: why Kapusta put it where it is.
        created, started, finished: when it was stored, last claimed, and reached a final status.
    """

    id: int
    token: str
    name: str
    payload: bytes
    codec: str
    mode: TaskExecutionMode
    queue: str
    priority: int
    eta: datetime
    deadline: datetime | None
    options: bytes
    status: TaskStatus
    run: int
    worker: str | None
    lease: timedelta | None
    lease_end: datetime | None
    settled_run: int | None
    failures: int
    crashes: int
    interruptions: int
    cancel_requested: bool
    result: bytes | None
    error: str | None
    reason: str | None
    created: datetime
    started: datetime | None
    finished: datetime | None


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
    """

    holder = "holder"
    expired = "expired"
    overdue = "overdue"
    resting = "resting"
    running = "running"


class Change(Record, frozen=True, kw_only=True):
    """A compare-and-set on one task: touches nothing unless id, run and guard hold.

    Where ``status`` is ``None`` only ``cancel_requested`` is written. Otherwise the status, ``result``,
    ``error`` and ``reason`` are written as given, and:

    - under the guard ``holder``, ``settled_run`` becomes ``run``;
    - ``pending``: the eta becomes the store's now plus ``delay``;
    - a final status: ``finished`` becomes the store's now; any other status clears it;
    - ``lease`` and ``lease_end`` are cleared, and so is ``cancel_requested``; ``worker`` stays;
    - a counter that is given is set.

    Attributes:
        worker: with the guard ``holder``, who claims to hold it.
        raise_run: begin another life: ``run`` grows by one, so that every earlier run is refused, and the
            deadline becomes the store's now plus ``overdue_after`` (``None``: no deadline).
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
        lease: how long they are to last from the store's now.
    """

    worker: str
    lease: timedelta
    renewals: Sequence[Renewal]


class RenewAnswer(StrEnum):
    """What became of a ``Renewal``.

    Attributes:
        renewed: the lease is extended, even if it had ended, as long as nobody took the task.
        busy: the row is locked by somebody; the lease counts as held, ask again soon.
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


class TaskQuery(Record, frozen=True, kw_only=True):
    """Which tasks to find; all that is given must hold, in id order.

    Attributes:
        guards: at least one of these holds (of ``expired``, ``overdue``, ``resting``, ``running``).
        finished_before: it reached a final status before this.
        after_id: only ids greater than this.
        limit: at most so many.
    """

    ids: frozenset[int] | None = None
    statuses: frozenset[TaskStatus] | None = None
    names: frozenset[str] | None = None
    queues: frozenset[str] | None = None
    guards: frozenset[Guard] | None = None
    finished_before: datetime | None = None
    after_id: int = 0
    limit: int = 100

    def __post_init__(self) -> None:
        if self.guards is not None and Guard.holder in self.guards:
            raise ValueError("TaskQuery(guards=...) cannot ask for holder: a query has no worker")
        if self.finished_before is not None and self.finished_before.tzinfo is None:
            raise ValueError(f"TaskQuery(finished_before={self.finished_before}) is naive")


class Capabilities(Record, frozen=True, kw_only=True):
    """Facts about a backend, which laws and core ask for instead of its name.

    Attributes:
        shared_between_processes: other processes can see the same tasks.
        survives_restart: tasks are there after the last handle was shut down.
        pushes_wakeups: ``listen`` tells of work that other handles have stored.
        time_resolution: instants closer than this may be stored as one.
        poll_interval: how often to look for other handles' work where nothing is pushed; ``None``: never
            sooner than ``next_due`` and the lease ask for.
    """

    shared_between_processes: bool = False
    survives_restart: bool = False
    pushes_wakeups: bool = False
    time_resolution: timedelta = timedelta(microseconds=1)
    poll_interval: timedelta | None = None


def to_json(records: Any) -> bytes:
    """Encode records, or containers and dataclasses of records, as JSON; bytes become base64 text."""
    return msgspec.json.encode(records)


def from_json(data: bytes, shape: type[Any]) -> Any:
    """Decode what ``to_json`` encoded; *shape* is a record, a container such as ``list[StoredTask]``, or a dataclass.

    Raises:
        ValueError: *data* is not JSON, or not of that shape.
    """
    return msgspec.json.decode(data, type=shape)
