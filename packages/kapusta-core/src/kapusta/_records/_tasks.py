"""A task: as it is launched, and as it is stored."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from .._clock import ZERO
from .._enums import TaskExecutionMode, TaskStatus
from ._record import Record

MAX_ID: Final = (1 << 63) - 1
MIN_PRIORITY: Final = -100
MAX_PRIORITY: Final = 100
MAX_NAME: Final = 255
"""How many characters a task's name may have."""

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")


def name_problem(name: str) -> str | None:
    """Why *name* cannot be a task's name; ``None``: it can."""
    if not name:
        return "is empty"
    if len(name) > MAX_NAME:
        return f"is longer than {MAX_NAME} characters"
    return text_problem(name)


def text_problem(text: str) -> str | None:
    """Why a database may be unable to keep *text*; ``None``: every one can."""
    if text.isprintable() or not _UNSTORABLE.search(text):
        return None
    return "holds NUL or half a surrogate pair, which databases cannot keep"


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
        key: any text without NUL and half surrogate pairs, compared code point by code point.
        until: how long the key stays in use.
        period: with ``until=period``, how long, zero or more; else ``None``.
    """

    key: str
    until: UniqueUntil = UniqueUntil.finished
    period: timedelta | None = None

    def __post_init__(self) -> None:
        if (self.period is not None) != (self.until is UniqueUntil.period):
            raise ValueError(f"UniqueKey(period=...) goes with until=period, not {self.until}")
        if self.period is not None and self.period < ZERO:
            raise ValueError(f"UniqueKey(period={self.period}) is negative")
        if problem := text_problem(self.key):
            raise ValueError(f"UniqueKey(key={self.key!r}) {problem}")


class NewTask(Record, frozen=True, kw_only=True):
    """A task to be stored.

    Attributes:
        id: made by the launcher, 1 to 2**63 - 1.
        token: random text, made with the id: the same id under another token is another launch.
        name: the task's stored name, of 1 to 255 characters; neither NUL nor half a surrogate pair.
        payload: the encoded arguments.
        codec: the name of what encoded them.
        mode: where the body runs.
        queue: which queue it waits in; any text without NUL and half surrogate pairs.
        priority: -100 to 100, higher first.
        eta: when it is due; ``None``: the store's now plus ``delay``.
        delay: zero or more; counts only where ``eta`` is ``None``.
        overdue_after: zero or more; the deadline is the store's now plus this; ``None``: no deadline.
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
        if problem := name_problem(self.name):
            raise ValueError(f"NewTask(name={self.name!r}) {problem}")
        if problem := text_problem(self.queue) or text_problem(self.token):
            raise ValueError(f"NewTask(queue={self.queue!r}, token={self.token!r}) {problem}")
        if self.delay < ZERO:
            raise ValueError(f"NewTask(delay={self.delay}) is negative")
        if self.overdue_after is not None and self.overdue_after < ZERO:
            raise ValueError(f"NewTask(overdue_after={self.overdue_after}) is negative")


class StoredTask(Record, frozen=True, kw_only=True):
    """A task as the store has it; what has a default is its history, and the default is that of a new task.

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
        created: when it was stored.
        started: when it was claimed last.
        finished: when it reached a final status.
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
    created: datetime
    status: TaskStatus = TaskStatus.pending
    run: int = 0
    worker: str | None = None
    lease: timedelta | None = None
    lease_end: datetime | None = None
    settled_run: int | None = None
    failures: int = 0
    crashes: int = 0
    interruptions: int = 0
    cancel_requested: bool = False
    result: bytes | None = None
    error: str | None = None
    reason: str | None = None
    started: datetime | None = None
    finished: datetime | None = None
