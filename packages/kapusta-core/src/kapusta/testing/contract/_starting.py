"""Laws of ``startup``, ``shutdown`` and ``twin``: a handle's life, and several handles to one storage."""
# ruff: noqa: S101, PLR2004 - a law asserts, and the number in a law is the claim

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Final

import pytest

from kapusta._crud import BaseCRUD
from kapusta._errors import StoreNotStartedError
from kapusta._records import AddOutcome, Capabilities, Guard, Renewal, RenewRequest, TaskQuery

from .._examples import LEASE, add, changed, claimed, found, look, request, settled, started, stored, task
from .._law import law
from .._stage import Stage, elsewhere, on_twin

OPERATIONS: Final[Mapping[str, Callable[[BaseCRUD], Awaitable[object]]]] = {
    "add_tasks": lambda store: store.add_tasks([task()]),
    "claim_tasks": lambda store: store.claim_tasks(request()),
    "change_tasks": lambda store: store.change_tasks([]),
    "renew_leases": lambda store: store.renew_leases(
        RenewRequest(worker="ann", lease=LEASE, renewals=[Renewal(id=1, run=1)])
    ),
    "find_tasks": lambda store: store.find_tasks(TaskQuery()),
    "delete_tasks": lambda store: store.delete_tasks([1]),
}


async def _refused(store: BaseCRUD) -> list[str]:
    """The operations that say that this handle is not started."""
    names = []
    for name, operation in OPERATIONS.items():
        try:
            await operation(store)
        except StoreNotStartedError:
            names.append(name)
    return names


class StartingLaws:
    """What holds between ``startup`` and ``shutdown``."""

    @law
    async def test_before_startup_every_operation_is_refused(self, stage: Stage) -> None:
        """Each operation of a handle that was never started raises `StoreNotStartedError`.

        If it fails: an operation opens the store by itself, or fails with an error of its engine.
        """
        store = stage.fresh()

        assert await _refused(store) == list(OPERATIONS)

    @law
    async def test_after_shutdown_every_operation_is_refused(self, stage: Stage) -> None:
        """Each operation of a handle that was shut down raises `StoreNotStartedError`.

        If it fails: ``shutdown`` leaves something open, or something closed that is then used.
        """
        store = await stage.open()
        await store.add_tasks([task()])

        await store.shutdown()

        assert await _refused(store) == list(OPERATIONS)

    @law
    async def test_starting_twice_is_starting_once(self, stage: Stage) -> None:
        """A second ``startup`` changes nothing, and one ``shutdown`` ends both.

        If it fails: the second opens a second connection or an empty store, or they are counted.
        """
        store = await stage.open()
        new = task()
        await store.add_tasks([new])

        await store.startup()
        kept = await found(store)
        await store.shutdown()

        assert kept == [new.id]
        assert await _refused(store) == list(OPERATIONS)

    @law
    async def test_stopping_needs_no_start(self, stage: Stage) -> None:
        """``shutdown`` of a handle that is not started does nothing: twice, or before the first ``startup``.

        If it fails: something is closed that was never opened.
        """
        store = stage.fresh()
        await store.shutdown()
        await store.startup()
        new = task()
        assert await add(store, new) == [AddOutcome.new]

        await store.shutdown()
        await store.shutdown()

        await store.startup()
        assert await add(store, task()) == [AddOutcome.new]

    @law
    async def test_a_handle_can_be_started_again(self, stage: Stage) -> None:
        """After ``shutdown`` the same handle starts again and finds the tasks, as another handle does.

        If it fails: ``shutdown`` drops what constructing had made, or the tasks belong to a handle.
        """
        store, other = await stage.open_all(2)
        new = task()
        await store.add_tasks([new])

        await store.shutdown()
        meanwhile = await found(other)
        await store.startup()

        assert (meanwhile, await found(store)) == ([new.id], [new.id])

    @law
    async def test_a_handle_can_be_started_on_another_loop(self, stage: Stage) -> None:
        """After ``shutdown`` the same handle starts on another event loop, in another thread, and back again.

        If it fails: a lock, a future or a connection of the first loop is kept from before.
        """
        store, _other = await stage.open_all(2)
        new = task()
        await store.add_tasks([new])
        await store.shutdown()

        async def there() -> list[int]:
            await store.startup()
            ids = await found(store)
            await store.shutdown()
            return ids

        assert await elsewhere(there) == [new.id]
        await store.startup()
        assert await claimed(store) == [new.id]

    @law
    async def test_on_another_loop_every_operation_is_refused(self, stage: Stage) -> None:
        """Each operation on another event loop than the handle's raises `StoreNotStartedError`; the handle works on.

        If it fails: a handle knows whether it is started, but not where; compare the running loop.
        """
        store = await stage.open()

        refused = await elsewhere(lambda: _refused(store))

        assert refused == list(OPERATIONS)
        assert await add(store, task()) == [AddOutcome.new]

    @law
    async def test_on_another_loop_a_handle_is_neither_started_nor_stopped(self, stage: Stage) -> None:
        """While the loop of a started handle runs, ``startup`` and ``shutdown`` on another raise `StoreNotStartedError`.

        If it fails: a second thread takes the store from the loop that works with it, without a word.
        """
        store = await stage.open()

        for call in (store.startup, store.shutdown):
            with pytest.raises(StoreNotStartedError) as refused:
                await elsewhere(call)
            assert refused.value.elsewhere

        assert await add(store, task()) == [AddOutcome.new]

    @law
    async def test_tasks_survive_where_it_is_declared(self, stage: Stage) -> None:
        """With ``capabilities.survives_restart`` tasks are there after the last handle was shut down.

        If it fails: the store is not durable; declare it so.
        """
        store = await stage.open()
        if not store.capabilities.survives_restart:
            pytest.skip(f"{type(store).__name__} declares survives_restart=False")
        given = await started(store)

        await store.shutdown()
        again = await stage.open()

        assert await look(again, given.id) == given

    @law
    async def test_many_handles_can_start_at_once(self, stage: Stage) -> None:
        """Eight handles that start at the same time, on new storage and in several threads, all work on one store.

        If it fails: who comes second creates tables that are there, or sees half a migration.
        """
        handles = [stage.fresh() for _ in range(4)]
        twins = [handle.twin() for handle in handles]

        async def use(twin: BaseCRUD) -> None:
            await twin.startup()
            await twin.add_tasks([task()])
            await twin.shutdown()

        await asyncio.gather(
            *(handle.startup() for handle in handles),
            *(elsewhere(lambda twin=twin: use(twin)) for twin in twins),  # type: ignore[misc]  # a bound default
        )

        for handle in handles:
            assert len(await found(handle)) == 4

    @law
    async def test_a_handle_shows_its_clock_and_its_facts(self, stage: Stage) -> None:
        """``clock`` is the one that was given, also that of a twin; ``capabilities`` and ``protocol`` are there.

        If it fails: ``clock`` is not handed to ``super().__init__``, or ``twin`` makes one of its own.
        """
        store = await stage.open()

        assert store.clock is stage.clock
        assert store.twin().clock is stage.clock
        assert isinstance(store.capabilities, Capabilities)
        assert store.twin().capabilities == store.capabilities
        assert store.capabilities.time_resolution > timedelta(0)
        assert store.capabilities.poll_interval is None or store.capabilities.poll_interval > timedelta(0)
        assert 1 <= store.protocol <= BaseCRUD.protocol  # a later core takes a class of an earlier protocol

    @law
    async def test_a_twin_is_not_started(self, stage: Stage) -> None:
        """The twin of a started handle waits for its own ``startup``.

        If it fails: "started" is a property of the storage, or is copied.
        """
        store = await stage.open()

        assert await _refused(store.twin()) == list(OPERATIONS)

    @law
    async def test_a_twin_works_on_the_same_tasks_from_another_loop(self, stage: Stage) -> None:
        """A twin in another thread claims what its sibling stored, and its sibling sees the outcome.

        If it fails: the twin has a storage of its own, or a connection that belongs to the first loop.
        """
        store = await stage.open()
        new = task()
        await store.add_tasks([new])

        async def work(twin: BaseCRUD) -> None:
            (given,) = (await twin.claim_tasks(request())).tasks
            await twin.change_tasks([settled(given, result=b"twin")])

        await on_twin(store, work)

        assert (await look(store, new.id)).result == b"twin"

    @law
    async def test_twins_are_shut_down_by_themselves(self, stage: Stage) -> None:
        """Shutting down a twin leaves its sibling started, and the other way round.

        If it fails: twins share a pool or an engine, or "started" belongs to the storage.
        """
        store, other = await stage.open_all(2)
        twin = store.twin()
        await twin.startup()
        await twin.shutdown()
        after_the_twin = await add(store, task())
        twin = store.twin()
        await twin.startup()

        await store.shutdown()
        after_the_store = await add(twin, task())
        await twin.shutdown()

        assert (after_the_twin, after_the_store) == ([AddOutcome.new], [AddOutcome.new])
        assert len(await found(other)) == 2

    @law
    async def test_handles_see_each_others_writes_at_once(self, stage: Stage) -> None:
        """What one handle has been answered, every other finds in its next operation.

        If it fails: a handle reads from an old snapshot or from a cache.
        """
        store, other = await stage.open_all(2)
        before = await found(other)
        kept = await stored(store, task())
        there = await look(other, kept.id)
        await store.change_tasks([changed(kept, Guard.resting, cancel_requested=True)])

        assert before == []
        assert there == kept
        assert (await look(other, kept.id)).cancel_requested is True
