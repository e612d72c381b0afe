from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import pytest

from kapusta._clock import Timer
from kapusta._executors._timeouts import Timeouts
from kapusta.testing import ManualClock


class CountingClock(ManualClock):
    """A manual clock that notes when its timers are to ring; written by the test's loop."""

    def __init__(self) -> None:
        super().__init__()
        self.rings: list[float] = []

    def call_at(self, when: float, callback: Callable[[], object]) -> Timer:
        """Note the time, and do as a manual clock does."""
        self.rings.append(when - self.monotonic())
        return super().call_at(when, callback)


async def _endless() -> None:
    await asyncio.get_running_loop().create_future()


@pytest.fixture
def clock() -> CountingClock:
    """Return a clock that the test moves."""
    return CountingClock()


async def test_each_body_is_cancelled_at_its_own_timeout(clock: CountingClock) -> None:
    """A body with a short timeout must not wait behind one with a long timeout that began first."""
    timeouts = Timeouts(clock)
    bodies = {seconds: asyncio.create_task(_endless()) for seconds in (60, 5, 30, 6)}
    for seconds, body in bodies.items():
        timeouts.begin(body, timedelta(seconds=seconds))

    ended: list[int] = []
    for seconds in (5, 1, 24, 30):
        await clock.advance(seconds=seconds)
        ended.append(sum(body.cancelled() for body in bodies.values()))

    assert ended == [1, 2, 3, 4]


async def test_a_body_that_ended_is_not_cancelled(clock: CountingClock) -> None:
    """The asyncio task of a body goes on after it, and must not be hit by a timeout that is over."""
    timeouts = Timeouts(clock)
    first, second = (asyncio.create_task(_endless()) for _ in range(2))
    over = timeouts.begin(first, timedelta(seconds=5))
    running = timeouts.begin(second, timedelta(seconds=5))

    timeouts.end(over)
    await clock.advance(seconds=5)

    assert not over.has_passed
    assert not first.cancelled()
    assert running.has_passed
    assert second.cancelled()
    first.cancel()


async def test_a_body_that_ignores_its_cancellation_does_not_delay_others(clock: CountingClock) -> None:
    """The timer must go on to the next body although the first one has not ended."""
    timeouts = Timeouts(clock)

    async def stubborn() -> None:
        while True:
            try:
                await _endless()
            except asyncio.CancelledError:
                if end.is_set():
                    raise

    end = asyncio.Event()
    first = asyncio.create_task(stubborn())
    second = asyncio.create_task(_endless())
    timeouts.begin(first, timedelta(seconds=5))
    await clock.advance(seconds=1)
    timeouts.begin(second, timedelta(seconds=5))

    await clock.advance(seconds=4)
    assert not second.cancelled()
    await clock.advance(seconds=1)

    assert second.cancelled()
    assert not first.done()
    end.set()
    first.cancel()


async def test_a_thousand_bodies_take_one_timer(clock: CountingClock) -> None:
    """A timer per body was a third of what running an empty body cost."""
    timeouts = Timeouts(clock)
    body = asyncio.create_task(_endless())

    for _ in range(1000):
        timeouts.begin(body, timedelta(seconds=60))

    assert clock.rings == [60.0]
    timeouts.close()
    body.cancel()


async def test_a_moved_clock_does_not_stop_for_an_idle_timer(clock: CountingClock) -> None:
    """A test that advances for hours must not wake at each timeout of bodies that ended long ago."""
    timeouts = Timeouts(clock)
    body = asyncio.create_task(_endless())

    timeouts.end(timeouts.begin(body, timedelta(seconds=60)))
    await clock.advance(seconds=60)

    assert clock.rings == [60.0]
    assert not body.cancelled()
    body.cancel()
