"""Hours that come twice, or not at all, and heartbeats that have to be made in time."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from kapusta import TaskStatus
from kapusta.backend import StoreUnavailableError
from kapusta.testing import ManualClock
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.scripted import ScriptedCRUD
from tests.worker.stored import stored

BERLIN = ZoneInfo("Europe/Berlin")


@pytest.mark.parametrize(
    ("wall", "instant"),
    [
        (datetime(2025, 10, 26, 2, 30, tzinfo=BERLIN), datetime(2025, 10, 26, 0, 30, tzinfo=UTC)),
        (datetime(2025, 10, 26, 2, 30, tzinfo=BERLIN, fold=1), datetime(2025, 10, 26, 1, 30, tzinfo=UTC)),
        (datetime(2025, 3, 30, 2, 30, tzinfo=BERLIN), datetime(2025, 3, 30, 1, 30, tzinfo=UTC)),
        (datetime(2025, 3, 30, 2, 30, tzinfo=BERLIN, fold=1), datetime(2025, 3, 30, 0, 30, tzinfo=UTC)),
    ],
    ids=["twice: first", "twice: second", "never: as before", "never: as after"],
)
async def test_an_eta_in_an_hour_that_comes_twice_or_never_is_one_instant(
    open_store: OpenStore, make_kapusta: MakeKapusta, wall: datetime, instant: datetime
) -> None:
    """What the wall clock shows, and its `fold`, say one instant: the task is not due a second earlier, and is then."""
    clock = ManualClock(
        datetime(2025, 3, 29, tzinfo=UTC) if wall.month == 3 else datetime(2025, 10, 25, tzinfo=UTC)
    )
    kapusta = make_kapusta(open_store(clock))
    task = kapusta.register_task(lambda: "ran", name="task")
    await kapusta.startup()

    handle = await task.with_options(eta=wall).launch()

    assert (await stored(kapusta, handle)).eta == instant


@pytest.mark.parametrize("jitter", [None, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0])
@pytest.mark.parametrize("seconds", [15, 24, 26])
async def test_a_heartbeat_survives_a_store_that_is_busy_for_most_of_a_lease(
    in_memory: OpenStore,
    make_kapusta: MakeKapusta,
    monkeypatch: pytest.MonkeyPatch,
    seconds: float,
    jitter: float | None,
) -> None:
    """While another process keeps the database locked a renewal is tried again and again, and comes in time.

    The last one was a second before the store became busy, so 26 seconds leave three of the lease's thirty; the
    longest pause between two tries is two.
    """
    if jitter is not None:
        monkeypatch.setattr("kapusta._worker._supervisor.random.uniform", lambda *_: jitter)
    clock = ManualClock()
    store = ScriptedCRUD(in_memory(clock))
    kapusta = make_kapusta(store, lease=30)
    ended: list[str] = []

    @kapusta.task(timeout=None)
    async def long() -> str:
        try:
            await clock.sleep(120)
        finally:
            ended.append("once")
        return "done"

    await kapusta.startup()
    handle = await long.launch()
    await clock.advance(seconds=11)  # one renewal
    free_again = clock.monotonic() + seconds

    def busy(operation: str, _: Any) -> None:
        if operation == "renew_leases" and clock.monotonic() < free_again:
            raise StoreUnavailableError(operation=operation, problem="database is locked", busy=True)

    store.script.before = busy
    await clock.advance(seconds=120)

    record = await stored(kapusta, handle)
    assert (record.status, record.run, ended) == (TaskStatus.success, 1, ["once"])
