"""What an executor is given and what it gives back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from enum import Enum, auto
from typing import Any, Protocol, TypeAlias

import msgspec

from .._arguments import Arguments
from .._brief import said
from .._codec import Codec, Label, Role
from .._errors import ResultEncodingError
from .._naming import ImportPath
from ._failure import describe, encodable, in_a_line
from ._watching import Leased


class StopCause(Enum):
    """Why a body is stopped."""

    lease_lost = auto()
    shutdown = auto()
    cancelled = auto()


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """One run of a body.

    Attributes:
        number: the failures before it, plus 1.
        payload: the encoded arguments, for a body that runs elsewhere.
        codec: the name of what encoded them.
        latest: when, on the monotonic scale, its deadline comes; ``None``: it has none.
        lease: the lease that it runs under.
        timeout: how long it may take.
        encode: makes the stored result of what the function returns.
    """

    task_id: int
    name: str
    number: int
    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    payload: bytes
    codec: str
    importable: ImportPath | None
    latest: float | None
    lease: Leased
    timeout: timedelta | None
    encode: ResultEncoder


class Returned(msgspec.Struct, frozen=True, gc=False):
    """The function returned; *problem* says why there is no *result*, or how it would arrive as something else."""

    result: bytes | None
    problem: str | None = None


class Raised(msgspec.Struct, frozen=True):
    """The function raised.

    Attributes:
        error: the traceback as text, from the user's own first frame on.
        brief: the exception in a line.
        exception: the exception itself, or what stands for one that was raised in another process.
    """

    error: str
    brief: str
    exception: BaseException

    @classmethod
    def of(cls, error: BaseException) -> Raised:
        return cls(describe(error), in_a_line(error), error)


class TimedOut(msgspec.Struct, frozen=True):
    """The timeout passed; *running* ends when the body does, where it could not be stopped."""

    error: str
    running: asyncio.Future[Any] | None = None


class Died(msgspec.Struct, frozen=True):
    """What the body ran in ended under it."""

    reason: str


class Stopped(msgspec.Struct, frozen=True):
    """The body was told to stop; *running* is how it ends after all, where it could not be stopped."""

    cause: StopCause
    running: asyncio.Future[Ended] | None = None


class Unreadable(msgspec.Struct, frozen=True):
    """The payload could not be turned into a call where the body was to run."""

    problem: str


class Late(msgspec.Struct, frozen=True):
    """The deadline came before the body could begin, where it was to run; nothing of it has happened."""


Ended: TypeAlias = Returned | Raised | TimedOut | Died | Stopped | Unreadable | Late


class Body:
    """A body while it runs: how to stop it; written by the worker's loop.

    Attributes:
        began_at: when it began, on the monotonic scale; ``None``: it has not.
    """

    __slots__ = ("_on_stop", "began_at", "stop_cause")

    def __init__(self) -> None:
        self.began_at: float | None = None
        self.stop_cause: StopCause | None = None
        self._on_stop: Callable[[StopCause], object] | None = None

    def on_stop(self, on_stop: Callable[[StopCause], object] | None) -> None:
        """Have `stop` call *on_stop* from now on, at once if it was called before; ``None``: the body is over."""
        self._on_stop = on_stop
        if on_stop is not None and self.stop_cause is not None:
            on_stop(self.stop_cause)

    def stop(self, cause: StopCause) -> bool:
        """Tell the body to stop; the first cause counts. Answer whether there was one to be told."""
        if self.stop_cause is not None:
            return False
        self.stop_cause = cause
        if self._on_stop is None:
            return False
        self._on_stop(cause)
        return True

    @contextmanager
    def stoppable(self, on_stop: Callable[[StopCause], object]) -> Iterator[None]:
        """While entered, `stop` calls *on_stop* with the cause; at once if it was called before."""
        self.on_stop(on_stop)
        try:
            yield
        finally:
            self.on_stop(None)


class Executor(Protocol):
    """Runs bodies of one mode; used by the worker's loop."""

    def warm_up(self) -> None:
        """Get ready for bodies that will come."""

    async def run(self, attempt: Attempt, body: Body) -> Ended:
        """Run one body to its end, its timeout or its stop; raises nothing that the body raised."""

    async def close(self) -> None:
        """Let go of what was kept for later bodies; those that still run are not waited for."""


class ResultEncoder:
    """Makes the stored result of what a function returned, by the codec of its arguments; immutable.

    *task* is the name that the task is stored under, *arguments* know the annotation that its result is read by.
    """

    def __init__(self, task: str, codec: Codec, max_bytes: int, arguments: Arguments) -> None:
        self._task, self._codec, self._max_bytes, self._arguments = task, codec, max_bytes, arguments
        self._label = Label(task, Role.result)

    def __call__(self, value: object) -> Returned:
        """What is to be stored once the function has returned: its work is done, whatever it returned."""
        try:
            return self.encode(value, done=True)
        except ResultEncodingError as problem:
            return Returned(None, encodable(str(problem)))

    def encode(self, value: object, *, done: bool) -> Returned:
        """The stored result, and how it would arrive as something else.

        Raises:
            ResultEncodingError: there can be none of this value.
        """
        try:
            body = self._codec.encode(value)
            result = self._codec.seal(body, self._label)
        except ValueError as problem:
            raise ResultEncodingError(task=self._task, problem=said(problem), done=done) from problem
        if len(result) > self._max_bytes:
            too_large = f"it takes {len(result)} bytes, max_payload_bytes is {self._max_bytes}"
            raise ResultEncodingError(task=self._task, problem=too_large, done=done)
        changed = self._arguments.result_problem(self._codec, value, body)
        return Returned(result, None if changed is None else encodable(changed))


def too_long(attempt: Attempt, what: str = "the body") -> str:
    """The stored error of a body that passed its timeout."""
    seconds = attempt.timeout.total_seconds() if attempt.timeout else 0
    return f"TimeoutError: {what} took longer than its timeout of {seconds:g} s"
