"""What is hours away happens at once, to the worker as to the test, when a clock is moved."""

from __future__ import annotations

import time
from datetime import timedelta

import pytest

from kapusta.testing import ManualClock
from tests.worker.conftest import MakeKapusta, OpenStore


async def test_hours_of_waiting_timing_out_and_retrying_take_less_than_a_second(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A task with an eta in three hours, a 60-minute timeout and a retry after ten minutes ends in under a second.

    Of real time, in memory and on SQLite. The lease is longer than the default: with 30 seconds a worker looks
    at its store 2,400 times in these hours, which costs nearly a second on a file.
    """
    clock = ManualClock()
    kapusta = make_kapusta(open_store(clock), lease=timedelta(minutes=7), max_tick_interval=420)
    began_at: list[float] = []

    @kapusta.task(
        eta_delta=timedelta(hours=3), timeout=60 * 60, max_retry_attempts=1, backoff=timedelta(minutes=10)
    )
    async def report() -> str:
        began_at.append(clock.monotonic())
        if len(began_at) == 1:
            await clock.sleep(2 * 60 * 60)
        return "written"

    await kapusta.startup()
    began = time.perf_counter()
    handle = await report.launch()
    await clock.advance(hours=4, minutes=10, seconds=1)
    took = time.perf_counter() - began

    assert await handle.result(timeout=0) == "written"
    # A SQLite file has a clock of its own, which goes on while the test runs: it is ahead, by less than a second.
    assert began_at == pytest.approx([3 * 3600, 4 * 3600 + 600], abs=1)
    assert took < 1


async def test_time_that_a_task_waits_for_its_retry_is_not_spent(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A retry starts at its eta: not a minute before, though the worker is idle."""
    clock = ManualClock()
    kapusta = make_kapusta(open_store(clock))
    attempts: list[float] = []

    @kapusta.task(max_retry_attempts=1, backoff=timedelta(minutes=10))
    async def fail() -> None:
        attempts.append(clock.monotonic())
        raise RuntimeError("again")

    await kapusta.startup()
    await fail.launch()
    await clock.advance(minutes=9)
    early = len(attempts)
    await clock.advance(minutes=2)

    assert early == 1
    assert len(attempts) == 2
    assert attempts[1] - attempts[0] == pytest.approx(600, abs=1)


@pytest.mark.parametrize(
    ("duration", "words"),
    [
        ({"seconds": -1}, r"\(seconds=-1\) goes back, and time cannot. Give a duration of zero or more"),
        ({"hours": 1, "minutes": -61}, r"\(hours=1, minutes=-61\) goes back"),
    ],
)
async def test_time_does_not_go_back(duration: dict[str, float], words: str) -> None:
    """A slip of the sign is told, and does not pass for a test in which nothing happened."""
    clock = ManualClock()

    with pytest.raises(ValueError, match=f"advance{words}"):
        await clock.advance(**duration)
    with pytest.raises(ValueError, match=f"shift{words}"):
        clock.shift(**duration)

    assert clock.monotonic() == 0
    await clock.advance(hours=1, minutes=-59)
    await clock.advance()
    assert clock.monotonic() == 60
