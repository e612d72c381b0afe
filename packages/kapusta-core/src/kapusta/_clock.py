"""Now, monotonic, sleep, call_at: the only place that asks what time it is."""

from __future__ import annotations

import asyncio
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

ZERO: Final = timedelta(0)


class Timer(Protocol):
    """What ``call_at`` gives back."""

    def cancel(self) -> None:
        """Never call; does nothing once called or cancelled."""


class Clock(ABC):
    """The time that a Kapusta and its backend live by.

    Everything that waits asks the clock, so that a test can move time. Durations are seconds on the
    monotonic scale and ``timedelta`` elsewhere.
    """

    moves_by_itself: bool = True
    """Whether time passes while the event loop is blocked; a clock that a test moves says no."""

    @property
    def offset(self) -> timedelta:
        """What a backend adds to its store's own *now*; zero outside tests."""
        return ZERO

    @abstractmethod
    def now(self) -> datetime:
        """The time of day, aware, in UTC."""

    @abstractmethod
    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back, and goes on while a machine sleeps."""

    @abstractmethod
    async def sleep(self, seconds: float) -> None:
        """Return after *seconds*; at once, after one turn of the loop, for zero or less."""

    @abstractmethod
    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Call *callback* on the running loop when ``monotonic()`` reaches *when*."""

    async def settle(self) -> None:  # noqa: B027 - real time never stands still
        """Return once nothing can go on without time being moved; at once where time moves by itself."""

    def busy(
        self,
        what: str,  # noqa: ARG002 - real time waits for nobody; a moved clock does
        body: asyncio.Task[object] | None = None,  # noqa: ARG002 - likewise
    ) -> AbstractContextManager[object]:
        """Say, for the block, that *what* goes on in real time; a clock that is moved waits for it.

        Given the asyncio task that runs the *body* of an ``async_`` task, such a clock can also tell that
        the body waits for nothing real: for an event, a queue or another task.
        """
        return _NOT_COUNTED


# A lease goes on while a laptop or a virtual machine is suspended, so the clock that judges it must too.
# Linux counts suspension in CLOCK_BOOTTIME only, macOS in CLOCK_MONOTONIC, Windows everywhere.
if sys.platform == "linux":

    def _monotonic() -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

elif sys.platform == "darwin":

    def _monotonic() -> float:
        return time.clock_gettime(time.CLOCK_MONOTONIC)

else:
    _monotonic = time.monotonic


_NOT_COUNTED: Final = nullcontext()


class SystemClock(Clock):
    """Real time."""

    def now(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return _monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        return asyncio.get_running_loop().call_later(max(0.0, when - _monotonic()), callback)
