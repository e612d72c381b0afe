"""One timer for the timeouts of all bodies on a loop."""

from __future__ import annotations

import asyncio
import math
from datetime import timedelta

from .._clock import Clock, Timer


class Timeout:
    """The timeout of one body; written by the loop.

    Attributes:
        end: when it passes, on the monotonic scale; infinite if there is none.
        has_passed: whether it has, and the body's asyncio task was cancelled for it.
    """

    __slots__ = ("duration", "end", "has_passed", "task")

    def __init__(self, task: asyncio.Task[object], duration: timedelta | None, end: float) -> None:
        self.task, self.duration, self.end, self.has_passed = task, duration, end, False


class Timeouts:
    """Cancels asyncio tasks that take too long; written by the loop.

    Nearly every body ends long before its timeout, so a timer per body would be wasted. Bodies with the same timeout
    end in the order in which they began: only the first of each duration is looked at when the one timer rings.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: dict[timedelta, dict[Timeout, None]] = {}
        self._timer: Timer | None = None
        self._rings_at = math.inf

    def begin(self, task: asyncio.Task[object], duration: timedelta | None) -> Timeout:
        """Cancel *task* once *duration* has passed, unless `end` comes first; ``None``: never."""
        if duration is None:
            return Timeout(task, None, math.inf)
        timeout = Timeout(task, duration, self._clock.monotonic() + duration.total_seconds())
        same = self._running.get(duration)
        if same is None:
            same = self._running[duration] = {}
        same[timeout] = None
        if timeout.end < self._rings_at:
            self._ring_at(timeout.end)
        return timeout

    def end(self, timeout: Timeout) -> None:
        """Forget *timeout*, and take its cancellation back: the body has ended."""
        if timeout.duration is None:
            return
        same = self._running[timeout.duration]
        del same[timeout]
        if timeout.has_passed and timeout.task.cancelling():
            timeout.task.uncancel()
        if not same:
            del self._running[timeout.duration]
            if not self._running and not self._clock.moves_by_itself:
                self._ring_at(math.inf)  # a moved clock would stop at the time of an idle timer

    def close(self) -> None:
        """Ring no more."""
        self._ring_at(math.inf)

    def _ring_at(self, when: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._rings_at = when
        self._timer = self._clock.call_at(when, self._ring) if when < math.inf else None

    def _ring(self) -> None:
        now, following = self._clock.monotonic(), math.inf
        for same in self._running.values():
            for timeout in same:
                if timeout.has_passed:
                    continue  # its body takes its time to end
                if timeout.end > now:
                    following = min(following, timeout.end)
                    break
                timeout.has_passed = True
                timeout.task.cancel()
        self._ring_at(following)
