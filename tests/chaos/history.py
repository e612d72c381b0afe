"""What happened, as lines in files: written by every process of a run, and read when it is over.

A line is written by one system call, so a process that is killed leaves whole lines behind. What a body does is also
forced to the disk. A file has at most `SEGMENT` bytes, so that a process that may write only small files (see the
fault `full`) can still tell what it does.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, TypeVar

import msgspec

E = TypeVar("E")

SEGMENT: Final = 16 << 10
LIMIT: Final = 2 * SEGMENT
"""How large a file may be for a process whose disk is full."""


class Event(msgspec.Struct, frozen=True, kw_only=True, tag_field="event", tag=str.lower):
    """Something that happened.

    Attributes:
        at: when, on the machine's monotonic clock, which all processes share.
        pid: to whom.
    """

    at: float = msgspec.field(default_factory=time.monotonic)
    pid: int = msgspec.field(default_factory=os.getpid)


class Launch(Event, frozen=True, kw_only=True):
    """A launch is about to be sent.

    Attributes:
        serial: the launch's number, an argument of the task.
        attempts: its ``max_retry_attempts``.
        hold: whether its crash policy is ``hold``.
    """

    serial: int
    name: str
    attempts: int
    hold: bool


class Stored(Event, frozen=True, kw_only=True):
    """A launch was acknowledged."""

    serial: int
    task: int


class Claim(Event, frozen=True, kw_only=True):
    """The store answered a worker that the task is its own now."""

    task: int
    run: int
    worker: str


class Asked(Event, frozen=True, kw_only=True):
    """A change is about to be sent to the store.

    Attributes:
        key: the number of this try.
        failures: the counter, where the change sets it.
        raises: whether it begins another life of the task.
        nonce: the mark of the body whose answer it carries, if it carries one.
    """

    key: str
    task: int
    run: int
    guard: str
    worker: str | None
    status: str | None
    failures: int | None
    raises: bool
    nonce: str | None


class Answered(Event, frozen=True, kw_only=True):
    """What the store answered to a change."""

    key: str
    answer: str


class Began(Event, frozen=True, kw_only=True):
    """A body has begun, and leaves its mark.

    Attributes:
        until: when it will have ended, if it can be stopped, and is run again if it is; else 0.
    """

    task: int
    run: int
    nonce: str
    until: float = 0.0


class Ended(Event, frozen=True, kw_only=True):
    """A body is about to return or to raise, or was stopped: *how* says which."""

    nonce: str
    how: str


class Death(Event, frozen=True, kw_only=True):
    """A process is about to be killed: in which phase, and where in it."""

    phase: str
    point: str


class Fault(Event, frozen=True, kw_only=True):
    """Somebody has made a fault."""

    kind: str
    detail: str = ""


AnyEvent = Launch | Stored | Claim | Asked | Answered | Began | Ended | Death | Fault

_decoder: Final = msgspec.json.Decoder(AnyEvent)


class Journal:
    """The files of one process; used from any thread, under its own lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._descriptor = -1
        self._size = self._segments = 0

    def write(self, event: AnyEvent, *, forced: bool = False) -> None:
        """Append a line; *forced*: and return when the disk has it."""
        line = msgspec.json.encode(event) + b"\n"
        with self._lock:
            if self._descriptor < 0 or self._size + len(line) > SEGMENT:
                self._turn_over()
            os.write(self._descriptor, line)
            self._size += len(line)
            if forced:
                os.fsync(self._descriptor)

    def _turn_over(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._segments += 1
        path = self._folder / f"{os.getpid()}-{time.monotonic_ns()}-{self._segments}.jsonl"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        self._size = 0


class Reader:
    """Reads a folder of journals bit by bit, while they are written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}

    def new(self) -> Iterator[AnyEvent]:
        """What has been written since; of each process in order."""
        with os.scandir(self._folder) as entries:
            grown = [
                Path(entry.path)
                for entry in entries
                if entry.name.endswith(".jsonl")
                and entry.stat().st_size > self._read.get(Path(entry.path), 0)
            ]
        for path in sorted(grown):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._read[path] = self._read.get(path, 0) + len(line)
                    yield _decoder.decode(line)


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """A change, and what became of it.

    Attributes:
        answer: ``None``: the reply, or who would have heard it, was lost.
        answered: when the answer was there.
    """

    asked: Asked
    answer: str | None = None
    answered: float | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the store has said that it is written."""
        return self.answer in ("accepted", "already")

    @property
    def may_be_kept(self) -> bool:
        """Whether it may be written."""
        return self.answer != "refused"

    @property
    def is_rescue(self) -> bool:
        """Whether a task was taken from a worker by it; to ask whether it could be, changes no status."""
        asked = self.asked
        return asked.guard == "expired" and asked.status is not None and self.answer == "accepted"

    @property
    def is_failure(self) -> bool:
        """Whether it says that a body raised or took too long."""
        return self.asked.guard == "holder" and bool(self.asked.failures)

    @property
    def is_another_life(self) -> bool:
        """Whether a person has asked for it, so that the task's runs before it count no more."""
        return self.asked.guard == "resting" and self.asked.raises


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A body that has begun, and how it ended, if it did."""

    began: Began
    how: str | None = None
    ended: float | None = None


class History(msgspec.Struct, frozen=True, kw_only=True):
    """All that happened in a run.

    Attributes:
        stored: the acknowledged launches: which task a launch has become.
    """

    launches: Sequence[Launch] = ()
    stored: Sequence[Stored] = ()
    claims: Sequence[Claim] = ()
    writes: Sequence[Write] = ()
    bodies: Sequence[Body] = ()
    deaths: Sequence[Death] = ()
    faults: Sequence[Fault] = ()

    @classmethod
    def of(cls, events: Iterable[AnyEvent]) -> History:
        """Put together what belongs together."""
        events = list(events)
        answers = {it.key: it for it in _only(Answered, events)}
        ends = {it.nonce: it for it in _only(Ended, events)}
        return cls(
            launches=_only(Launch, events),
            stored=_only(Stored, events),
            claims=_only(Claim, events),
            writes=[_write(asked, answers.get(asked.key)) for asked in _only(Asked, events)],
            bodies=[_body(began, ends.get(began.nonce)) for began in _only(Began, events)],
            deaths=_only(Death, events),
            faults=_only(Fault, events),
        )


def _only(kind: type[E], events: Sequence[object]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


def _write(asked: Asked, answered: Answered | None) -> Write:
    if answered is None:
        return Write(asked=asked)
    return Write(asked=asked, answer=answered.answer, answered=answered.at)


def _body(began: Began, ended: Ended | None) -> Body:
    return Body(began=began) if ended is None else Body(began=began, how=ended.how, ended=ended.at)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of a task in the end.

    Attributes:
        serial: the launch's number, from its arguments.
        nonce: the mark of the body whose answer is stored, if one is.
    """

    task: int
    serial: int
    status: str
    run: int
    failures: int = 0
    nonce: str | None = None
