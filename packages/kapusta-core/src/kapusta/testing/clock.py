"""Time that a test moves."""

from __future__ import annotations

import asyncio
import asyncio.locks
import asyncio.queues
import heapq
import itertools
import threading
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from kapusta._clock import Clock, SystemClock, Timer
from kapusta._errors import StillBusyError
from kapusta._futures import resolve

PATIENCE: Final = 5.0
"""How many seconds of real time ``advance`` gives a body, a child or a store to come to an end."""

_LOOK_AGAIN: Final = 0.005
_PACKAGE: Final = str(Path(__file__).parents[1])
_IN_PROCESS: Final = (asyncio.locks.__file__, asyncio.queues.__file__, _PACKAGE)
_current: ContextVar[_Busy | None] = ContextVar("kapusta_busy", default=None)


class _Timer:
    """A callback that waits for its moment; written by its clock, under the clock's lock."""

    __slots__ = ("callback", "cancelled", "loop", "when")

    def __init__(self, when: float, callback: Callable[[], object], loop: asyncio.AbstractEventLoop) -> None:
        self.when, self.callback, self.loop = when, callback, loop
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def fire(self) -> None:
        if not self.cancelled:
            self.cancelled = True
            self.callback()


class _Busy:
    """Something that goes on in real time; written by the loop that it goes on in."""

    def __init__(
        self,
        begin: Callable[[_Busy], object],
        end: Callable[[_Busy], object],
        what: str,
        body: asyncio.Task[object] | None,
    ) -> None:
        self.what, self.sleepers = what, 0
        self._begin, self._end, self._body = begin, end, body
        self._token: Token[_Busy | None] | None = None

    def __enter__(self) -> None:
        self._begin(self)
        self._token = _current.set(self)

    def __exit__(self, *_: object) -> None:
        if self._token is not None:
            _current.reset(self._token)
        self._end(self)

    @property
    def waits(self) -> bool:
        """Whether it waits for the clock, or for something that this process will do."""
        return self.sleepers > 0 or (
            self._body is not None and _innermost_file(self._body).startswith(_IN_PROCESS)
        )


def _innermost_file(task: asyncio.Task[Any]) -> str:
    """The file of the coroutine function in which *task* is suspended."""
    file = ""
    awaited: object = task.get_coro()
    while (frame := getattr(awaited, "cr_frame", None)) is not None:
        file, awaited = frame.f_code.co_filename, getattr(awaited, "cr_await", None)
    return file


def _seconds(move: str, duration: Mapping[str, float]) -> float:
    seconds = timedelta(**duration).total_seconds()
    if seconds < 0:
        said = ", ".join(f"{unit}={number}" for unit, number in duration.items())
        raise ValueError(f"{move}({said}) goes back, and time cannot. Give a duration of zero or more")
    return seconds


class ManualClock(Clock):
    """A clock that stands still until a test moves it; may be used from any thread, under its own lock.

    ``await clock.advance(hours=3)`` goes from event to event: to each moment for which something waits, and
    there lets everything run until nothing can. Bodies in threads and children, calls to a real store and
    other I/O are awaited in real time. Who moves it must not be who waits for it: in the test itself let first
    happen what is due, and then ask with ``result(timeout=0)``, which answers or fails at once.
    """

    moves_by_itself = False

    def __init__(self, start: datetime | None = None) -> None:
        if start is not None and start.tzinfo is None:
            raise ValueError(f"ManualClock(start={start}) is naive; give it a time zone")
        self._start = start or SystemClock().now()
        self._elapsed = 0.0
        self._lock = threading.RLock()
        self._timers: list[tuple[float, int, _Timer]] = []
        self._order = itertools.count()
        self._busy: set[_Busy] = set()
        self._waiting: set[asyncio.Future[None]] = set()
        self._settling = 0

    @property
    def offset(self) -> timedelta:
        return timedelta(seconds=self._elapsed)

    def now(self) -> datetime:
        return self._start + self.offset

    def monotonic(self) -> float:
        return self._elapsed

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        timer = self.call_at(self._elapsed + seconds, lambda: resolve(woken, None))
        busy = _current.get()
        if busy is not None:
            busy.sleepers += 1
            self._changed()
        try:
            await woken
        finally:
            timer.cancel()
            if busy is not None:
                busy.sleepers -= 1

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        timer = _Timer(when, callback, asyncio.get_running_loop())
        with self._lock:
            heapq.heappush(self._timers, (when, next(self._order), timer))
            if when <= self._elapsed:
                self._fire_due()
        return timer

    def busy(self, what: str, body: asyncio.Task[object] | None = None) -> _Busy:
        return _Busy(self._begin, self._end, what, body)

    def shift(self, **duration: float) -> None:
        """Jump by a duration (the keywords of ``timedelta``), passing over all that waited on the way.

        Raises:
            ValueError: the duration is negative.
        """
        with self._lock:
            self._move_to(self._elapsed + _seconds("shift", duration))

    async def advance(self, **duration: float) -> None:
        """Move on by a duration (the keywords of ``timedelta``), from event to event.

        Raises:
            ValueError: the duration is negative.
            StillBusyError: something real did not come to an end within five seconds.
        """
        target = self._elapsed + _seconds("advance", duration)
        await self.settle()
        while (moment := self._next_moment()) is not None and moment <= target:
            self._move_to(moment)
            await self.settle()
        self._move_to(target)
        await self.settle()

    async def settle(self) -> None:
        """Return once no asyncio task but the caller's can run and nothing real goes on; time stands still.

        Raises:
            StillBusyError: something real did not come to an end within five seconds.
        """
        loop = asyncio.get_running_loop()
        seen: set[_Busy] = set()
        patience = 0.0
        while True:
            await self._until_nothing_is_ready(loop)
            busy = {each for each in self._busy if not each.waits}
            if not busy:
                return
            if not busy <= seen:
                seen, patience = busy, loop.time() + PATIENCE
            elif loop.time() > patience:
                raise StillBusyError(busy=sorted(each.what for each in busy), seconds=PATIENCE)
            await self._until_changed(loop)

    def _next_moment(self) -> float | None:
        with self._lock:
            while self._timers and self._timers[0][2].cancelled:
                heapq.heappop(self._timers)
            return self._timers[0][0] if self._timers else None

    def _move_to(self, moment: float) -> None:
        with self._lock:
            self._elapsed = max(self._elapsed, moment)
            self._fire_due()

    def _fire_due(self) -> None:
        while self._timers and self._timers[0][0] <= self._elapsed:
            timer = heapq.heappop(self._timers)[2]
            if not timer.cancelled and not timer.loop.is_closed():
                timer.loop.call_soon_threadsafe(timer.fire)

    def _begin(self, busy: _Busy) -> None:
        self._busy.add(busy)

    def _end(self, busy: _Busy) -> None:
        self._busy.discard(busy)
        self._changed()

    def _changed(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, set()
        for future in waiting:
            future.get_loop().call_soon_threadsafe(resolve, future, None)

    async def _until_nothing_is_ready(self, loop: asyncio.AbstractEventLoop) -> None:
        # asyncio's own loops show what is ready to run; on others (uvloop) many turns must do.
        ready = getattr(loop, "_ready", None)
        if ready is None:
            for _ in range(50):
                await asyncio.sleep(0)
            return
        self._settling += 1
        try:
            await asyncio.sleep(0)
            while len(ready) >= self._settling:  # noqa: ASYNC110 - no event says that nothing is left to run
                await asyncio.sleep(0)  # of those that settle at once, each sees the others run
        finally:
            self._settling -= 1

    async def _until_changed(self, loop: asyncio.AbstractEventLoop) -> None:
        # A body may go over from real I/O to waiting for an event without telling: so look again, too.
        changed = loop.create_future()
        with self._lock:
            self._waiting.add(changed)
        await asyncio.wait({changed}, timeout=_LOOK_AGAIN)
        with self._lock:
            self._waiting.discard(changed)
