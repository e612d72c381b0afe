"""Laws of cancellation: an operation that is cancelled has happened or not, and its handle works on."""
# ruff: noqa: S101 - a law asserts, and the number in a law is the claim

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final, Generic, NamedTuple, TypeVar

from kapusta._clock import SystemClock
from kapusta._crud import BaseCRUD
from kapusta._enums import TaskStatus
from kapusta._records import NewTask, RenewRequest, StoredTask, TaskQuery

from .._examples import (
    HOUR,
    LEASE,
    add,
    claim,
    claimed,
    found,
    look,
    renewed_all,
    request,
    settled,
    task,
)
from .._law import law
from .._stage import Stage
from ._operations import operations_on

G = TypeVar("G")
A = TypeVar("A")

_CLOCK: Final = SystemClock()


class _Attempt(NamedTuple, Generic[G, A]):
    """What became of an operation that was cancelled.

    Attributes:
        given: what it was prepared with.
        answer: what it returned; ``None``: nothing.
        swallowed: whether it was cancelled before its end, and did not raise CancelledError.
    """

    given: G
    answer: A | None
    swallowed: bool


async def _cancelled_everywhere(
    prepare: Callable[[], Awaitable[G]], operation: Callable[[G], Awaitable[A]]
) -> AsyncIterator[_Attempt[G, A]]:
    """Begin *operation* again and again, and cancel it after 0, 1, 2, 4, 8, … turns of the loop.

    Yields after each time, and stops once it had ended before it was cancelled. An operation that swallows the
    cancellation and returns has not: it is cancelled later the next time, as any other.
    """
    turns = 0
    while True:
        given = await prepare()
        doing = asyncio.ensure_future(operation(given))
        for _ in range(turns):
            await _CLOCK.sleep(0)
        in_time = doing.done()
        doing.cancel()
        await asyncio.wait([doing])
        answer = None if doing.cancelled() else doing.result()
        yield _Attempt(given, answer, swallowed=not (in_time or doing.cancelled()))
        if in_time:
            return
        turns = max(1, 2 * turns)


async def _claimed_batch(store: BaseCRUD) -> list[StoredTask]:
    new = [task() for _ in range(20)]
    await store.add_tasks(new)
    return [each for each in (await claim(store)).tasks if each.id >= new[0].id]


class CancellingLaws:
    """What holds when the caller of an operation is cancelled."""

    @law
    async def test_a_cancelled_operation_does_not_return(self, stage: Stage) -> None:
        """Whenever an operation is cancelled before its end, it raises CancelledError and returns nothing.

        If it fails: a driver or a retry swallows CancelledError, so no timeout and no shutdown ends the caller.
        """
        store, other = await stage.open_all(2)

        async def prepare() -> StoredTask:
            new = task()
            await other.add_tasks([new])
            (given,) = [each for each in (await claim(other)).tasks if each.id == new.id]
            return given

        for name in operations_on(store, await prepare()):
            async for attempt in _cancelled_everywhere(
                prepare,
                lambda given, name=name: operations_on(store, given)[name](),  # type: ignore[misc]  # a bound default
            ):
                assert not attempt.swallowed, f"{name} returned after it was cancelled"

    @law
    async def test_a_cancelled_launch_stored_all_or_nothing(self, stage: Stage) -> None:
        """Of 50 tasks whose launch was cancelled all are stored or none, and the launch can be repeated.

        If it fails: the batch is written in more than one transaction, or the connection is left in one.
        """
        store, other = await stage.open_all(2)

        async def prepare() -> list[NewTask]:
            return [task() for _ in range(50)]

        async for batch, answer, _ in _cancelled_everywhere(prepare, store.add_tasks):
            ids = [each.id for each in batch]
            there = await found(other, ids=frozenset(ids), limit=100)
            assert there in ([], ids)
            assert answer is None or there == ids
            outcomes = await add(store, *batch)
            assert len(set(outcomes)) == 1
            assert await found(other, ids=frozenset(ids), limit=100) == ids

    @law
    async def test_a_cancelled_claim_loses_no_task(self, stage: Stage) -> None:
        """After a claim was cancelled its task is started by that worker, or another worker can claim it at once.

        If it fails: rows stay locked, half a claim was written, or what was taken is forgotten.
        """
        store, other = await stage.open_all(2)

        async def prepare() -> NewTask:
            new = task()
            await other.add_tasks([new])
            return new

        async for new, answer, _ in _cancelled_everywhere(
            prepare, lambda _: store.claim_tasks(request("ann"))
        ):
            kept = await look(other, new.id)
            taken = kept.status is TaskStatus.started
            assert (kept.run, kept.worker) == ((1, "ann") if taken else (0, None))
            assert answer is None or [each.id for each in answer.tasks] == [new.id]
            assert answer is None or taken
            assert await claimed(store, "bob") == ([] if taken else [new.id])

    @law
    async def test_cancelled_changes_are_written_all_or_not(self, stage: Stage) -> None:
        """Of 20 settlements in a call that was cancelled all are written or none; repeated, all are there.

        If it fails: the call is more than one transaction, or the connection is left in one.
        """
        store, other = await stage.open_all(2)

        async for given, answer, _ in _cancelled_everywhere(
            lambda: _claimed_batch(store),
            lambda given: store.change_tasks([settled(each) for each in given]),
        ):
            kept = await other.find_tasks(TaskQuery(ids=frozenset(each.id for each in given)))
            statuses = {each.status for each in kept}
            assert statuses in ({TaskStatus.started}, {TaskStatus.success})
            assert answer is None or statuses == {TaskStatus.success}
            answers = await store.change_tasks([settled(each) for each in given])
            assert {each.answer for each in answers} in ({"accepted"}, {"already"})

    @law
    async def test_a_cancelled_renewal_can_be_repeated(self, stage: Stage) -> None:
        """A renewal that was cancelled has extended all leases or none, and they can be renewed again.

        If it fails: the handle's connection was closed or left in use by the cancelled call.
        """
        store, other = await stage.open_all(2)
        given = await _claimed_batch(store)
        nothing = RenewRequest(worker="ann", lease=2 * LEASE, renewals=[])

        async for _, answer, _ in _cancelled_everywhere(
            lambda: renewed_all(store, given), lambda _: renewed_all(store, given, lease=HOUR)
        ):
            leases = {each.lease for each in await other.find_tasks(TaskQuery())}
            assert leases in ({LEASE}, {HOUR})
            assert answer is None or leases == {HOUR}
            answers = await renewed_all(store, given)
            assert {each.answer for each in answers} == {"renewed"}
            assert list(await store.renew_leases(nothing)) == []
            assert {each.lease for each in await other.find_tasks(TaskQuery())} == {LEASE}

    @law
    async def test_a_cancelled_find_leaves_the_handle_working(self, stage: Stage) -> None:
        """After a search was cancelled, the same handle searches and writes.

        If it fails: a cursor that was not read to its end stays open.
        """
        store = await stage.open()
        new = [task() for _ in range(50)]
        ids = [each.id for each in new]
        await store.add_tasks(new)

        async for _, answer, _ in _cancelled_everywhere(
            lambda: found(store, limit=50), lambda _: found(store, limit=50)
        ):
            assert answer in (None, ids)
            assert await found(store, limit=50) == ids
            assert await add(store, task(name="later")) == ["new"]

    @law
    async def test_a_cancelled_deletion_deletes_all_or_nothing(self, stage: Stage) -> None:
        """Of 20 tasks whose deletion was cancelled all are gone or none, and it can be repeated.

        If it fails: the call is more than one transaction, or the connection is left in one.
        """
        store, other = await stage.open_all(2)

        async def prepare() -> list[int]:
            given = await _claimed_batch(store)
            await store.change_tasks([settled(each) for each in given])
            return [each.id for each in given]

        async for ids, answer, _ in _cancelled_everywhere(prepare, store.delete_tasks):
            there = await found(other)
            assert there in ([], ids)
            assert answer in (None, 20)
            assert answer is None or there == []
            assert await store.delete_tasks(ids) == len(there)
            assert await found(other) == []
