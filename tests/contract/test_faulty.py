"""A backend with faults: without any it keeps the contract, and each kind does what it says."""

from __future__ import annotations

import asyncio
from collections import Counter
from contextlib import suppress
from datetime import timedelta

import pytest

from kapusta.backend import Clock, NewTask, StoreUnavailableError, TaskQuery
from kapusta.testing import BackendContract, FaultKind, FaultyCRUD, ManualClock, OpenBackend
from kapusta_memory import MemoryCRUD
from tests.contract.handles import handles_to_one_store


class TestFaultyWithoutFaults(BackendContract):
    """At the rate 0 a wrapped backend is the backend."""

    @pytest.fixture
    def open_backend(self) -> OpenBackend:
        """A callable that gives wrapped handles to a new store in memory."""
        open_memory = handles_to_one_store()
        return lambda clock: FaultyCRUD(open_memory(clock), seed=1, rate=0)


def new_task(number: int) -> NewTask:
    """A task with this id."""
    return NewTask(id=number, token=f"token-{number}", name="work", payload=b"{}")


async def always(kind: FaultKind, *, seed: int = 1, clock: Clock | None = None) -> FaultyCRUD:
    """A started memory backend whose every operation meets one kind of fault."""
    faulty = FaultyCRUD(MemoryCRUD(clock=clock), seed=seed, rate=1, kinds=[kind], longest_delay=60)
    await faulty.startup()
    return faulty


async def stored_ids(faulty: FaultyCRUD) -> list[int]:
    """What is really stored."""
    return [task.id for task in await faulty.crud.find_tasks(TaskQuery())]


def test_an_operation_that_errs_before_has_done_nothing() -> None:
    """`before` raises StoreUnavailableError, and the task is not stored."""

    async def body() -> None:
        faulty = await always(FaultKind.before)

        with pytest.raises(StoreUnavailableError, match=r"did not carry out add_tasks: a planned fault"):
            await faulty.add_tasks([new_task(1)])

        assert await stored_ids(faulty) == []
        assert faulty.fired == Counter({FaultKind.before: 1})

    asyncio.run(body())


def test_an_operation_that_errs_after_has_done_its_work() -> None:
    """`after` raises StoreUnavailableError, and the task is stored all the same."""

    async def body() -> None:
        faulty = await always(FaultKind.after)

        with pytest.raises(StoreUnavailableError):
            await faulty.add_tasks([new_task(1)])

        assert await stored_ids(faulty) == [1]
        assert faulty.fired == Counter({FaultKind.after: 1})

    asyncio.run(body())


def test_an_operation_that_is_delayed_is_done_when_the_clock_says_so() -> None:
    """`delay` waits by the backend's clock, then does the work and answers."""

    async def body() -> None:
        clock = ManualClock()
        faulty = await always(FaultKind.delay, clock=clock)
        adding = asyncio.ensure_future(faulty.add_tasks([new_task(1)]))
        for _ in range(10):
            await asyncio.sleep(0)
        before = await stored_ids(faulty)

        await clock.advance(minutes=1)
        (added,) = await adding

        assert before == []
        assert added.outcome == "new"
        assert await stored_ids(faulty) == [1]

    asyncio.run(body())


def test_an_operation_that_hangs_ends_when_it_is_cancelled() -> None:
    """`hang` does not answer however late it is; cancelled, it leaves the handle working.

    In some calls the work was done, in others not: the caller cannot know.
    """

    async def body() -> None:
        clock = ManualClock()
        faulty = await always(FaultKind.hang, clock=clock)
        for number in range(1, 21):
            adding = asyncio.ensure_future(faulty.add_tasks([new_task(number)]))
            await clock.advance(days=1)
            assert not adding.done()
            adding.cancel()
            with pytest.raises(asyncio.CancelledError):
                await adding
        faulty.calm()

        await faulty.add_tasks([new_task(100)])

        done = await stored_ids(faulty)
        assert done[-1] == 100
        assert 1 < len(done) < 21

    asyncio.run(body())


def test_a_seed_is_a_plan() -> None:
    """The same seed gives each call the same fault, whatever else is called; another seed, others."""

    async def fates(seed: int, *, others: bool) -> list[str]:
        faulty = FaultyCRUD(
            MemoryCRUD(), seed=seed, rate=0.5, kinds=[FaultKind.before, FaultKind.after], longest_delay=0
        )
        await faulty.startup()
        seen = []
        for number in range(1, 101):
            before = faulty.fired.copy()
            try:
                await faulty.add_tasks([new_task(number)])
            except StoreUnavailableError as error:
                seen.append(error.problem)
            else:
                assert faulty.fired == before
                seen.append("fine")
            if others:
                with suppress(StoreUnavailableError):
                    await faulty.find_tasks(TaskQuery())
        return seen

    first = asyncio.run(fates(7, others=False))

    assert asyncio.run(fates(7, others=True)) == first
    assert asyncio.run(fates(8, others=False)) != first
    assert len(set(first)) == 3


def test_the_rate_is_how_often_something_goes_wrong() -> None:
    """At a rate of 0.2, of 2,000 calls about 400 meet a fault, and each kind about as often as the others."""

    async def body() -> Counter[FaultKind]:
        faulty = FaultyCRUD(MemoryCRUD(), seed=3, rate=0.2)
        for _ in range(2000):
            faulty.plan.next("claim_tasks")
        return faulty.fired

    fired = asyncio.run(body())

    assert 330 < fired.total() < 470
    assert all(70 < fired[kind] < 130 for kind in FaultKind)


def test_a_twin_errs_by_the_same_plan() -> None:
    """Faults of a twin are counted with its sibling's, and one switch calms both."""

    async def body() -> None:
        faulty = await always(FaultKind.before)
        twin = faulty.twin()
        await twin.startup()
        with pytest.raises(StoreUnavailableError):
            await twin.find_tasks(TaskQuery())

        assert faulty.fired.total() == 1
        faulty.calm()
        assert list(await twin.find_tasks(TaskQuery())) == []
        twin.storm()
        with pytest.raises(StoreUnavailableError):
            await faulty.find_tasks(TaskQuery())
        assert twin.fired.total() == 2

    asyncio.run(body())


def test_starting_and_stopping_never_err() -> None:
    """`startup` and `shutdown` are passed on, however stormy it is; so are the clock and the capabilities."""

    async def body() -> None:
        clock = ManualClock()
        faulty = FaultyCRUD(MemoryCRUD(clock=clock), seed=1, rate=1)

        for _ in range(50):
            await faulty.startup()
            await faulty.shutdown()

        assert faulty.fired.total() == 0
        assert faulty.clock is clock
        assert faulty.capabilities == faulty.crud.capabilities
        assert faulty.capabilities.time_resolution == timedelta(microseconds=1)

    asyncio.run(body())


def test_a_rate_that_is_no_probability_is_refused() -> None:
    """A rate below 0 or above 1 is a mistake, and said at once."""
    with pytest.raises(ValueError, match=r"rate=20.* between 0 and 1"):
        FaultyCRUD(MemoryCRUD(), seed=1, rate=20)
