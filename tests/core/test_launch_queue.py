"""Many launches at once: those that wait for their turn lose none of their deadline, and wait for no store that is down."""

from __future__ import annotations

import asyncio
import heapq
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import count
from typing import Any

import pytest

from kapusta import StoreUnavailableError
from kapusta._launch_queue import PLACES, TASKS_PER_PLACE, LaunchQueue, places_of
from kapusta._records import Added, AddOutcome, NewTask, StoredTask, TaskQuery
from kapusta._store import Store
from kapusta.testing import ManualClock
from kapusta_memory import MemoryCRUD

TIMEOUT = 10
CONNECTIONS = 4
_ids = count(1)


def new() -> NewTask:
    """A task that has not been stored."""
    return NewTask(id=next(_ids), token="token", name="work", payload=b"{}")


class Pooled(MemoryCRUD):
    """A store with few connections, each of which is busy for a while with each call.

    Attributes:
        seconds: how long a launch of one task takes.
        is_down: whether every call fails at once.
        is_stuck: whether no call is ever answered.
        to_fail: how many launches fail before the next one that does not.
        under_way: how many launches were under way at once, at most.
    """

    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock=clock)
        self.seconds = 1.0
        self.is_down = self.is_stuck = False
        self.to_fail = 0
        self.under_way = 0
        self.stored: list[int] = []
        self._now_under_way = 0
        self._free_at = [0.0] * CONNECTIONS

    async def add_tasks(self, tasks: Sequence[NewTask]) -> Sequence[Added]:
        """Store tasks, in their time."""
        self._now_under_way += 1
        self.under_way = max(self.under_way, self._now_under_way)
        try:
            await self._connected(self.seconds)
            if self.to_fail:
                self.to_fail -= 1
                raise StoreUnavailableError(operation="add_tasks", problem="the connection is stale")
        finally:
            self._now_under_way -= 1
        self.stored += [task.id for task in tasks]
        return [Added(id=task.id, outcome=AddOutcome.new) for task in tasks]

    async def find_tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        """Find nothing, in a second."""
        await self._connected(1)
        return []

    async def _connected(self, seconds: float) -> None:
        if self.is_down:
            raise StoreUnavailableError(operation="it", problem="refused")
        if self.is_stuck:
            await self.clock.sleep(24 * 3600)
        end = max(heapq.heappop(self._free_at), self.clock.monotonic()) + seconds
        heapq.heappush(self._free_at, end)
        await self.clock.sleep(end - self.clock.monotonic())


@pytest.fixture
async def pooled(clock: ManualClock) -> AsyncIterator[Pooled]:
    """A started store."""
    crud = Pooled(clock)
    await crud.startup()
    yield crud
    await crud.shutdown()


@pytest.fixture
def store(pooled: Pooled) -> Store:
    """Calls it."""
    return Store(pooled, timeout=timedelta(seconds=TIMEOUT), outage_after=timedelta(seconds=TIMEOUT))


def burst(store: Store, size: int) -> list[asyncio.Task[Sequence[Added]]]:
    """So many launches at once."""
    return [asyncio.create_task(store.add([new()])) for _ in range(size)]


async def outcomes(launches: list[asyncio.Task[Any]]) -> list[str]:
    """What each launch that is over has raised, or an empty text."""
    over = [launch for launch in launches if launch.done()]
    errors = await asyncio.gather(*over, return_exceptions=True)
    return [str(error) if isinstance(error, Exception) else "" for error in errors]


async def test_every_launch_of_a_burst_is_stored_by_a_healthy_store(
    store: Store, pooled: Pooled, clock: ManualClock
) -> None:
    """With a deadline that runs while it waits for a connection, a launch fails because others were launched too."""
    launches = burst(store, 200)
    await clock.advance(seconds=200 / CONNECTIONS + 1)

    assert await outcomes(launches) == [""] * 200
    assert sorted(pooled.stored) == pooled.stored
    assert pooled.under_way == PLACES


async def test_another_call_does_not_starve_behind_a_burst_of_launches(
    store: Store, clock: ManualClock
) -> None:
    """A claim or an outcome that waited behind all of them would miss its own deadline, or a lease its end."""
    launches = burst(store, 200)
    await clock.advance(seconds=1)
    call = asyncio.create_task(store.find(TaskQuery()))
    await clock.advance(seconds=PLACES / CONNECTIONS + 1)

    assert call.done()
    assert len(await outcomes(launches)) < 100
    await clock.advance(seconds=200)


async def test_no_launch_waits_for_its_turn_at_a_store_that_is_down(
    store: Store, pooled: Pooled, clock: ManualClock
) -> None:
    """With a deadline of its own for each, the last of many launches would say so after minutes."""
    pooled.is_down = True
    launches = burst(store, 200)
    await clock.advance(seconds=TIMEOUT)
    late = burst(store, 1)
    await clock.settle()

    said = await outcomes(launches)
    assert len(said) == 200
    assert sum("before the turn of this launch" in each for each in said) == 200 - PLACES
    assert not late[0].done(), "the places are free: it tries"
    await clock.advance(seconds=TIMEOUT)
    assert await outcomes(late) != [""]


async def test_launch_that_comes_while_all_places_try_a_store_that_is_down_ends_at_once(
    store: Store, pooled: Pooled, clock: ManualClock
) -> None:
    """It has nothing to find out that the others are not finding out already."""
    pooled.is_down = True
    burst_before = burst(store, PLACES)
    await clock.advance(seconds=TIMEOUT - 0.5)
    launches = burst(store, PLACES + 1)
    await clock.advance(seconds=0.1)

    assert ["other launches are trying" in each for each in await outcomes(launches)] == [True]
    await clock.advance(seconds=2 * TIMEOUT)
    assert len(await outcomes(burst_before)) == PLACES


async def test_caller_that_repeats_a_refused_launch_at_once_does_not_block_the_loop(
    store: Store, pooled: Pooled, clock: ManualClock
) -> None:
    """Refused without a pause, it would repeat forever in one turn of the loop, and no other launch could give up."""
    pooled.is_stuck = True
    burst_before = burst(store, PLACES)
    await clock.advance(seconds=TIMEOUT)
    await outcomes(burst_before)
    trying = burst(store, PLACES)
    refused = 0

    async def insist() -> None:
        nonlocal refused
        while refused < 1000:
            with suppress(StoreUnavailableError):
                await store.add([new()])
            refused += 1

    caller = asyncio.create_task(insist())
    await clock.advance(seconds=1)
    caller.cancel()

    assert 2 <= refused <= 21
    await clock.advance(seconds=TIMEOUT)
    await outcomes(trying)


async def test_stuck_store_ends_the_wait_when_the_first_launches_give_up(
    store: Store, pooled: Pooled, clock: ManualClock
) -> None:
    """A server that accepts and says nothing is as far away as one that refuses."""
    pooled.is_stuck = True
    launches = burst(store, 100)
    await clock.advance(seconds=TIMEOUT)

    assert len(await outcomes(launches)) == 100


async def test_one_call_without_an_answer_is_no_reason_to_turn_launches_away(
    store: Store, pooled: Pooled, clock: ManualClock
) -> None:
    """A row that another transaction keeps locked holds up one call, and the store is well."""
    pooled.is_stuck = True
    hung = asyncio.create_task(store.find(TaskQuery()))
    await clock.settle()
    pooled.is_stuck = False
    launches = burst(store, 100)
    await clock.advance(seconds=100)

    assert hung.done()
    assert await outcomes([hung]) != [""]
    assert await outcomes(launches) == [""] * 100


async def test_failures_of_yesterday_turn_no_launch_away(
    store: Store, pooled: Pooled, clock: ManualClock
) -> None:
    """After a quiet night each connection has gone stale, and fails once: the store is not down for that."""
    pooled.is_down = True
    first = burst(store, 1)
    await clock.advance(seconds=TIMEOUT)
    await clock.advance(hours=12)
    pooled.is_down, pooled.to_fail = False, CONNECTIONS
    launches = burst(store, 100)
    await clock.advance(seconds=100)

    assert await outcomes(first) != [""]
    assert await outcomes(launches) == [""] * 100


async def test_closing_ends_the_wait_of_every_launch_at_once(
    store: Store, pooled: Pooled, clock: ManualClock
) -> None:
    """A shutdown has no time for launches that have not begun."""
    pooled.seconds = TIMEOUT / 2
    launches = burst(store, PLACES + 9)
    await clock.settle()
    closing = asyncio.create_task(store.close())
    await clock.settle()

    said = await outcomes(launches[PLACES:])
    assert ["it was closed" in each for each in said] == [True] * 9
    await closing
    await clock.advance(seconds=2 * TIMEOUT)
    assert len(await outcomes(launches)) == PLACES + 9


async def test_launch_that_is_cancelled_while_it_waits_lets_the_next_one_in(
    store: Store, pooled: Pooled, clock: ManualClock
) -> None:
    """A place that is lost with its launch is lost for good: after sixteen of them no launch would ever begin."""
    launches = burst(store, 3 * PLACES)
    await clock.settle()
    for launch in launches[PLACES : 2 * PLACES]:
        launch.cancel()
    await clock.advance(seconds=3 * PLACES)

    assert [launch.cancelled() for launch in launches] == [False] * PLACES + [True] * PLACES + [
        False
    ] * PLACES
    assert len(pooled.stored) == 2 * PLACES


async def test_launch_that_is_cancelled_as_its_turn_comes_gives_its_place_back() -> None:
    """The same, in the one turn of the loop between the two."""
    queue = LaunchQueue(longest=9)
    await queue.enter(PLACES)
    waiting = asyncio.create_task(queue.enter(PLACES))
    await asyncio.sleep(0)

    queue.leave(PLACES)
    waiting.cancel()
    await asyncio.wait([waiting])

    assert queue.has_room(PLACES)


async def test_large_batch_has_a_longer_deadline(store: Store, pooled: Pooled, clock: ManualClock) -> None:
    """Ten times the tasks take a store ten times as long, and that is no outage."""
    pooled.seconds = 5 * TIMEOUT
    large = asyncio.create_task(store.add([new()] * 100_000))
    await clock.advance(seconds=5 * TIMEOUT)
    small = asyncio.create_task(store.add([new()] * 100))
    await clock.advance(seconds=2 * TIMEOUT)

    assert await outcomes([large]) == [""]
    assert ["no answer within 10.1 s" in each for each in await outcomes([small])] == [True]


async def test_launch_does_not_wait_for_a_connection_behind_many_large_batches(
    store: Store, pooled: Pooled, clock: ManualClock
) -> None:
    """Its own deadline is that of one task: it must begin when they are through, not when they have begun."""
    pooled.seconds = TIMEOUT
    batches = [asyncio.create_task(store.add([new()] * TASKS_PER_PLACE * PLACES)) for _ in range(20)]
    await clock.settle()
    one = asyncio.create_task(store.add([new()]))
    await clock.advance(seconds=20 * TIMEOUT - 1)
    pooled.seconds = 1
    await clock.advance(seconds=TIMEOUT)

    assert await outcomes([*batches, one]) == [""] * 21


@pytest.mark.parametrize(
    ("tasks", "places"), [(1, 1), (1000, 1), (1001, 2), (16_000, 16), (1_000_000, 16), (0, 1)]
)
def test_places_of_a_batch(tasks: int, places: int) -> None:
    """One that took more places than there are would wait forever."""
    assert places_of(tasks) == places
