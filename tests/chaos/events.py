"""What can happen in a run: a record for each, made by whoever it happens to."""

from __future__ import annotations

import os
import time

import msgspec


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
