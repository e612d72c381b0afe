"""Laws of a network that fails: between a handle and its server stands a `Proxy`."""
# ruff: noqa: S101 - a law asserts

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Final, NamedTuple, TypeVar

import pytest

from kapusta._clock import SystemClock
from kapusta._crud import BaseCRUD, WakeKind
from kapusta._enums import TaskStatus
from kapusta._errors import StoreUnavailableError
from kapusta._records import NewTask, StoredTask, TaskQuery

from .._examples import add, claim, claimed, found, look, request, settled, started, task
from .._law import law
from .._proxy import Proxy
from .._stage import Server, Stage
from ._operations import cannot, operations_on

G = TypeVar("G")
A = TypeVar("A")

PATIENCE: Final = 40.0
"""How many seconds of real time a handle may take to find back to a server, or a listener to hear again."""
_PAUSE: Final = 0.05
_CLOCK: Final = SystemClock()


class _Scene(NamedTuple):
    """A handle whose network the law controls.

    Attributes:
        store: connects through *proxy*.
        other: to the same storage, past the proxy.
    """

    proxy: Proxy
    store: BaseCRUD
    other: BaseCRUD


@asynccontextmanager
async def _scene(stage: Stage, server: Server) -> AsyncIterator[_Scene]:
    other = await stage.open()
    async with Proxy(server.host, server.port) as proxy:
        store = stage.keep(server.open_through(proxy.port, stage.clock))
        await store.startup()
        assert proxy.accepted > 0, "open_through does not connect to 127.0.0.1 at the port that it is given"
        try:
            yield _Scene(proxy, store, other)
        finally:
            proxy.lose_nothing()
            proxy.flow()
            await proxy.accept()
            await store.shutdown()


async def _again(call: Callable[[], Awaitable[A]]) -> A:
    """Repeat *call* while the store is unavailable, as a worker does."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                return await call()
            except StoreUnavailableError:
                await _CLOCK.sleep(_PAUSE)


async def _lost_everywhere(
    scene: _Scene, prepare: Callable[[], Awaitable[G]], operation: Callable[[G], Awaitable[A]]
) -> AsyncIterator[tuple[G, A | None]]:
    """Carry out *operation* again and again; lose its first request, its second, …, then its first reply, ….

    Yields after each time what it was prepared with and what it returned, or ``None`` where it raised
    `StoreUnavailableError`. Stops when it is over before anything was lost.
    """
    for lose in (scene.proxy.lose_request, scene.proxy.lose_reply):
        skip, lost = 0, True
        while lost:
            given = await prepare()
            await _again(lambda: scene.store.find_tasks(TaskQuery(limit=1)))  # it is connected
            happened, answer = lose(skip=skip), None
            with suppress(StoreUnavailableError):
                answer = await operation(given)
            scene.proxy.lose_nothing()
            skip, lost = skip + 1, happened.is_set()
            yield given, answer


class FaultLaws:
    """What holds when the network fails; needs the fixture ``server``."""

    @law
    async def test_without_a_server_every_operation_says_unavailable(
        self, stage: Stage, server: Server
    ) -> None:
        """While connections are refused each operation raises `StoreUnavailableError`; afterwards the handle works.

        If it fails: the error of a driver or of a socket comes through, or a broken connection is kept.
        """
        async with _scene(stage, server) as (proxy, store, other):
            given = await started(other)
            await found(store)

            await proxy.cut()
            failures = await cannot(store, given)
            await proxy.accept()

            assert failures == {}
            assert await _again(lambda: store.find_tasks(TaskQuery())) == [given]
            assert await add(store, task()) == ["new"]

    @law
    async def test_a_start_without_a_server_can_be_repeated(self, stage: Stage, server: Server) -> None:
        """``startup`` raises `StoreUnavailableError` while connections are refused, and succeeds afterwards.

        If it fails: the error of a driver comes through, or a half-opened handle counts as started.
        """
        async with _scene(stage, server) as (proxy, _, other):
            given = await started(other)
            fresh = stage.keep(server.open_through(proxy.port, stage.clock))
            await proxy.cut()

            with pytest.raises(StoreUnavailableError):
                await fresh.startup()
            await proxy.accept()
            await fresh.startup()

            assert await look(fresh, given.id) == given
            await fresh.shutdown()

    @law
    async def test_a_launch_that_was_cut_off_is_stored_whole_or_not(
        self, stage: Stage, server: Server
    ) -> None:
        """Wherever the network fails, all 20 tasks of a launch are stored or none; repeated, each is stored once.

        If it fails: the batch is more than one transaction, or a token is not compared.
        """
        async with _scene(stage, server) as scene:

            async def prepare() -> list[NewTask]:
                return [task() for _ in range(20)]

            async for batch, answer in _lost_everywhere(scene, prepare, scene.store.add_tasks):
                ids = [each.id for each in batch]
                there = await found(scene.other, ids=frozenset(ids))
                assert there in ([], ids)
                assert answer is None or there == ids
                repeated = await _again(lambda batch=batch: add(scene.store, *batch))  # type: ignore[misc]  # a bound default
                assert set(repeated) == ({"again"} if there else {"new"})
                assert await found(scene.other, ids=frozenset(ids)) == ids

    @law
    async def test_a_claim_that_was_cut_off_is_found_by_its_worker(
        self, stage: Stage, server: Server
    ) -> None:
        """Wherever the network fails, a claimed task names its worker, and one that is not can be claimed by another.

        If it fails: a claim is repeated inside the backend after it was carried out, or is written by halves.
        """
        async with _scene(stage, server) as scene:

            async def prepare() -> NewTask:
                new = task()
                await scene.other.add_tasks([new])
                return new

            async for new, answer in _lost_everywhere(
                scene, prepare, lambda _: scene.store.claim_tasks(request("ann"))
            ):
                kept = await look(scene.other, new.id)
                taken = kept.status is TaskStatus.started
                assert (kept.run, kept.worker) == ((1, "ann") if taken else (0, None))
                assert answer is None or [each.id for each in answer.tasks] == [new.id]
                mine = await _again(
                    lambda: scene.store.find_tasks(TaskQuery(statuses=frozenset({TaskStatus.started})))
                )
                assert [each.id for each in mine if each.worker == "ann"] == ([new.id] if taken else [])
                if not taken:
                    await _claim_when_free(scene.other, "bob", new)
                else:
                    assert await claimed(scene.other, "bob") == []
                await scene.other.change_tasks([settled(await look(scene.other, new.id))])

    @law
    async def test_a_settlement_that_was_cut_off_is_accepted_once(self, stage: Stage, server: Server) -> None:
        """Wherever the network fails, five settlements are written all or none; a repeat says which.

        If it fails: a repeat of what was written is refused instead of ``already``, or written again.
        """
        async with _scene(stage, server) as scene:

            async def prepare() -> list[StoredTask]:
                await scene.other.add_tasks([task() for _ in range(5)])
                return list((await claim(scene.other)).tasks)

            async for given, answer in _lost_everywhere(
                scene, prepare, lambda given: scene.store.change_tasks([settled(each) for each in given])
            ):
                ids = frozenset(each.id for each in given)
                written = {each.status for each in await scene.other.find_tasks(TaskQuery(ids=ids))}
                assert written in ({TaskStatus.started}, {TaskStatus.success})
                assert answer is None or written == {TaskStatus.success}
                changes = [settled(each) for each in given]
                repeated = await _again(lambda changes=changes: scene.store.change_tasks(changes))  # type: ignore[misc]  # likewise
                word = "accepted" if written == {TaskStatus.started} else "already"
                assert [each.answer for each in repeated] == [word] * 5

    @law
    async def test_after_each_cut_the_handle_works_again(self, stage: Stage, server: Server) -> None:
        """After its connections were ended, each operation works, at the latest when it is repeated.

        If it fails: a connection that has ended is used again and again.
        """
        async with _scene(stage, server) as (proxy, store, other):
            given = await started(other)

            for call in operations_on(store, given).values():
                await proxy.drop()
                await _again(call)

            assert await found(store, ids=frozenset({given.id})) == []  # the last call deletes it

    @law
    async def test_a_server_that_says_nothing_holds_up_no_cancelled_caller(
        self, stage: Stage, server: Server
    ) -> None:
        """While nothing is delivered a cancelled operation ends; when connections are new, the handle works again.

        If it fails: a cancellation waits for a reply, or the connection that waits for one is used again.
        """
        async with _scene(stage, server) as (proxy, store, other):
            given = await started(other)
            await found(store)
            proxy.hold()
            calls = [asyncio.ensure_future(call()) for call in operations_on(store, given).values()]
            await _CLOCK.sleep(_PAUSE)  # however far they have come: no reply is delivered

            for call in calls:
                call.cancel()
            over, waiting = await asyncio.wait(calls, timeout=PATIENCE)
            await proxy.drop()
            proxy.flow()

            assert waiting == set()
            assert [type(each.exception()) for each in over if not each.cancelled()] == []
            assert await _again(lambda: look(store, given.id)) == given

    @law
    async def test_a_listener_whose_connection_was_lost_hears_again(
        self, stage: Stage, server: Server
    ) -> None:
        """With ``capabilities.pushes_wakeups``, a listener connects again by itself and is told of new tasks.

        If it fails: ``listen`` ends with its first connection, and every task then waits for a poll.
        """
        async with _scene(stage, server) as (proxy, store, other):
            if not store.capabilities.pushes_wakeups:
                pytest.skip(f"{type(store).__name__} declares pushes_wakeups=False")
            heard: asyncio.Queue[WakeKind] = asyncio.Queue()
            loop = asyncio.get_running_loop()

            def wake(kind: WakeKind) -> None:
                loop.call_soon_threadsafe(heard.put_nowait, kind)

            async with store.listen(wake):
                await _hears(heard, other)

                await proxy.drop()

                await _hears(heard, other)
                await _hears(heard, other)  # the first may be the news that it is back


async def _hears(heard: asyncio.Queue[WakeKind], other: BaseCRUD) -> None:
    """Launch until a listener is told of work; what it was told before does not count."""
    while not heard.empty():
        heard.get_nowait()
    async with asyncio.timeout(PATIENCE):
        while True:
            await other.add_tasks([task()])
            try:
                async with asyncio.timeout(4 * _PAUSE):
                    while await heard.get() != "work":
                        pass
            except TimeoutError:
                continue
            return


async def _claim_when_free(store: BaseCRUD, worker: str, new: NewTask) -> None:
    """Claim a task that a server may keep locked until it has noticed that its client is gone."""
    async with asyncio.timeout(PATIENCE):
        while await claimed(store, worker) != [new.id]:
            await _CLOCK.sleep(_PAUSE)
