"""Laws of ``listen``: a handle is told what others have stored, where that is declared."""
# ruff: noqa: S101 - a law asserts, and the number in a law is the claim

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from kapusta._crud import BaseCRUD, WakeKind
from kapusta._enums import TaskStatus
from kapusta._errors import StoreNotStartedError
from kapusta._records import Guard

from .._examples import add, changed, settled, started, stored, task
from .._law import law
from .._stage import Stage, on_twin

PATIENCE = 10.0
"""How many seconds of real time a wake-up may take."""


class _Ear:
    """What a listener was told; may be told from any thread."""

    def __init__(self) -> None:
        self.heard: list[WakeKind] = []
        self._loop = asyncio.get_running_loop()
        self._told: asyncio.Queue[WakeKind] = asyncio.Queue()

    def wake(self, kind: WakeKind) -> None:
        self.heard.append(kind)
        self._loop.call_soon_threadsafe(self._told.put_nowait, kind)

    async def hears(self, wanted: WakeKind) -> bool:
        """Whether it is told of this kind, sooner or later; what else it is told does not matter."""
        try:
            async with asyncio.timeout(PATIENCE):
                while await self._told.get() != wanted:
                    pass
        except TimeoutError:
            return False
        return True


@asynccontextmanager
async def _listening(store: BaseCRUD) -> AsyncIterator[_Ear]:
    if not store.capabilities.pushes_wakeups:
        pytest.skip(f"{type(store).__name__} declares pushes_wakeups=False")
    ear = _Ear()
    async with store.listen(ear.wake):
        yield ear


class ListeningLaws:
    """What ``listen`` tells."""

    @law
    async def test_a_new_task_wakes_the_others(self, stage: Stage) -> None:
        """A launch through another handle wakes for ``work``.

        If it fails: the hint is sent before the commit, or never.
        """
        store, other = await stage.open_all(2)
        async with _listening(store) as ear:
            await other.add_tasks([task()])

            assert await ear.hears("work")

    @law
    async def test_a_task_that_is_put_back_wakes_the_others(self, stage: Stage) -> None:
        """A release or retry through another handle wakes for ``work``.

        If it fails: only ``add_tasks`` wakes.
        """
        store, other = await stage.open_all(2)
        given = await started(other)
        async with _listening(store) as ear:
            await other.change_tasks([settled(given, status=TaskStatus.pending)])

            assert await ear.hears("work")

    @law
    async def test_a_request_to_cancel_wakes_the_others(self, stage: Stage) -> None:
        """A request to cancel through another handle wakes for ``cancel``.

        If it fails: a running task is not stopped before its next renewal.
        """
        store, other = await stage.open_all(2)
        given = await started(store)
        async with _listening(store) as ear:
            await other.change_tasks([changed(given, Guard.running, cancel_requested=True)])

            assert await ear.hears("cancel")

    @law
    async def test_a_settlement_wakes_the_others(self, stage: Stage) -> None:
        """An end or a hold through another handle wakes for ``settled``.

        If it fails: whoever waits for a result has to poll.
        """
        store, other = await stage.open_all(2)
        given = await started(other)
        kept = await stored(other, task())
        async with _listening(store) as ear:
            await other.change_tasks([settled(given)])
            ended = await ear.hears("settled")
            await other.change_tasks([changed(kept, Guard.resting, status=TaskStatus.held)])

            assert ended
            assert await ear.hears("settled")

    @law
    async def test_a_twin_is_woken_in_its_own_thread(self, stage: Stage) -> None:
        """A twin that listens on another loop, in another thread, is told of a launch here.

        If it fails: the wake-up is bound to the loop of the handle that writes.
        """
        store = await stage.open()
        if not store.capabilities.pushes_wakeups:
            pytest.skip(f"{type(store).__name__} declares pushes_wakeups=False")
        listening, here = asyncio.Event(), asyncio.get_running_loop()

        async def listen(twin: BaseCRUD) -> bool:
            async with _listening(twin) as ear:
                here.call_soon_threadsafe(listening.set)
                return await ear.hears("work")

        hearing = asyncio.ensure_future(on_twin(store, listen))
        waiting = asyncio.ensure_future(listening.wait())
        await asyncio.wait({hearing, waiting}, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        await store.add_tasks([task()])

        assert await hearing

    @law
    async def test_whoever_has_left_is_not_woken(self, stage: Stage) -> None:
        """After ``listen`` was left its *wake* is not called any more, while a listener that stays is.

        If it fails: leaving removes no listener, or all of them.
        """
        store, staying, other = await stage.open_all(3)
        async with _listening(staying) as ear:
            async with _listening(store) as gone:
                pass

            await other.add_tasks([task()])

            assert await ear.hears("work")
            assert gone.heard == []

    @law
    async def test_listening_needs_a_start(self, stage: Stage) -> None:
        """Entering ``listen`` on a handle that is not started raises `StoreNotStartedError`.

        If it fails: a listener is kept that nobody will ever wake.
        """
        store = await stage.open()
        if not store.capabilities.pushes_wakeups:
            pytest.skip(f"{type(store).__name__} declares pushes_wakeups=False")
        await store.shutdown()

        with pytest.raises(StoreNotStartedError):
            async with store.listen(lambda _: None):
                pass

    @law
    async def test_a_listening_handle_works_on(self, stage: Stage) -> None:
        """While it listens, a handle stores and is told of others' work, and a repeated launch is harmless.

        If it fails: the listener holds the handle's only connection.
        """
        store, other = await stage.open_all(2)
        new = task()
        async with _listening(store) as ear:
            mine = await add(store, new)
            await other.add_tasks([new, task()])

            assert mine == ["new"]
            assert await ear.hears("work")
