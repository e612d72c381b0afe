"""Laws of cancellation: an operation that is cancelled has happened or not, and its handle works on."""
# ruff: noqa: S101 - a law asserts, and the number in a law is the claim

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Final

from kapusta._clock import SystemClock
from kapusta._crud import BaseCRUD
from kapusta._enums import TaskStatus
from kapusta._records import RenewRequest, StoredTask, TaskQuery

from .._examples import HOUR, LEASE, add, claim, found, look, renewed_all, request, settled, task
from .._law import law
from .._stage import Stage

_CLOCK: Final = SystemClock()


async def _cancelled_everywhere(operation: Callable[[], Awaitable[object]]) -> AsyncIterator[bool]:
    """Begin *operation* again and again, and cancel it after 0, 1, 2, 4, 8, … turns of the loop.

    Yields after each time whether it had come to its end before, and stops then.
    """
    turns = 0
    while True:
        doing = asyncio.ensure_future(operation())
        for _ in range(turns):
            await _CLOCK.sleep(0)
        doing.cancel()
        ended = False
        with suppress(asyncio.CancelledError):
            await doing
            ended = True
        yield ended
        if ended:
            return
        turns = max(1, 2 * turns)


async def _claimed_batch(store: BaseCRUD) -> list[StoredTask]:
    new = [task() for _ in range(20)]
    await store.add_tasks(new)
    return [each for each in (await claim(store)).tasks if each.id >= new[0].id]


class CancellingLaws:
    """What holds when the caller of an operation is cancelled."""

    @law
    async def test_a_cancelled_launch_stored_all_or_nothing(self, stage: Stage) -> None:
        """Of 50 tasks whose launch was cancelled all are stored or none, and the launch can be repeated.

        If it fails: the batch is written in more than one transaction, or the connection is left in one.
        """
        store, other = await stage.open_all(2)
        batches = []

        async def launch() -> None:
            batches.append([task() for _ in range(50)])
            await store.add_tasks(batches[-1])

        async for ended in _cancelled_everywhere(launch):
            if batches:
                ids = [each.id for each in batches[-1]]
                there = await found(other, ids=frozenset(ids), limit=100)
                assert there in ([], ids)
                assert not ended or there == ids
                outcomes = await add(store, *batches[-1])
                assert len(set(outcomes)) == 1
                assert await found(other, ids=frozenset(ids), limit=100) == ids

    @law
    async def test_a_cancelled_claim_loses_no_task(self, stage: Stage) -> None:
        """After a claim was cancelled its tasks are pending, or started by that worker: another can have the rest.

        If it fails: rows stay locked, or half a claim was written.
        """
        store, other = await stage.open_all(2)

        async for _ in _cancelled_everywhere(lambda: store.claim_tasks(request("ann"))):
            new = task()
            await other.add_tasks([new])
            await claim(store, "bob")
            kept = await look(other, new.id)
            assert (kept.status, kept.run) == (TaskStatus.started, 1)
            assert kept.worker in {"ann", "bob"}

    @law
    async def test_cancelled_changes_are_written_all_or_not(self, stage: Stage) -> None:
        """Of 20 settlements in a call that was cancelled all are written or none; repeated, all are there.

        If it fails: the call is more than one transaction, or the connection is left in one.
        """
        store, other = await stage.open_all(2)
        given = await _claimed_batch(store)

        async def settle() -> None:
            await store.change_tasks([settled(each) for each in given])

        async for ended in _cancelled_everywhere(settle):
            kept = await other.find_tasks(TaskQuery(ids=frozenset(each.id for each in given)))
            statuses = {each.status for each in kept}
            assert statuses in ({TaskStatus.started}, {TaskStatus.success})
            assert not ended or statuses == {TaskStatus.success}
            answers = await store.change_tasks([settled(each) for each in given])
            assert {each.answer for each in answers} in ({"accepted"}, {"already"})
            given[:] = await _claimed_batch(store)

    @law
    async def test_a_cancelled_renewal_can_be_repeated(self, stage: Stage) -> None:
        """After a renewal was cancelled the leases are still held, and can be renewed.

        If it fails: the handle's connection was closed or left in use by the cancelled call.
        """
        store, other = await stage.open_all(2)
        given = await _claimed_batch(store)
        again = RenewRequest(worker="ann", lease=2 * LEASE, renewals=[])

        async for _ in _cancelled_everywhere(lambda: renewed_all(store, given, lease=HOUR)):
            answers = await renewed_all(store, given)
            assert {each.answer for each in answers} == {"renewed"}
            assert list(await store.renew_leases(again)) == []
            assert {each.lease for each in await other.find_tasks(TaskQuery())} == {LEASE}

    @law
    async def test_a_cancelled_find_leaves_the_handle_working(self, stage: Stage) -> None:
        """After a search was cancelled, the same handle searches and writes.

        If it fails: a cursor that was not read to its end stays open.
        """
        store = await stage.open()
        new = [task() for _ in range(50)]
        await store.add_tasks(new)

        async for _ in _cancelled_everywhere(lambda: store.find_tasks(TaskQuery())):
            assert await found(store, limit=50) == [each.id for each in new]
            assert await add(store, task(name="later")) == ["new"]

    @law
    async def test_a_cancelled_deletion_deletes_all_or_nothing(self, stage: Stage) -> None:
        """Of 20 tasks whose deletion was cancelled all are gone or none, and it can be repeated.

        If it fails: the call is more than one transaction, or the connection is left in one.
        """
        store, other = await stage.open_all(2)
        given = await _claimed_batch(store)
        await store.change_tasks([settled(each) for each in given])
        ids = [each.id for each in given]

        async for ended in _cancelled_everywhere(lambda: store.delete_tasks(ids)):
            there = await found(other)
            assert there in ([], ids)
            assert not ended or there == []
            assert await store.delete_tasks(ids) in {0, len(there)}
            assert await found(other) == []
            given = await _claimed_batch(store)
            await store.change_tasks([settled(each) for each in given])
            ids[:] = [each.id for each in given]
