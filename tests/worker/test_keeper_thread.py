"""The thread in which leases are kept: it begins, it ends, and if it dies its worker does no harm."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine
from types import SimpleNamespace

import pytest

from kapusta._worker._keeper import Lease
from kapusta._worker._keeper_thread import KeeperThread
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.eventually import eventually
from tests.worker.stored import stored


class Mortal:
    """A keeper's room whose keeper dies, or will not end, when the test says so."""

    keeper = SimpleNamespace(keep=lambda leases: None)

    def __init__(self, *, stubborn: bool = False) -> None:
        self.let_go, self._stubborn = threading.Event(), stubborn

    async def live(self, *, is_twin: bool) -> None:
        """Live until let go."""
        while not self.let_go.is_set():
            try:
                await asyncio.to_thread(self.let_go.wait)
            except asyncio.CancelledError:
                if not self._stubborn:
                    raise
        if not self._stubborn:
            raise MemoryError("not even for a renewal")


async def test_without_a_keeper_nothing_is_claimed_and_what_runs_is_stopped(
    on_sqlite: OpenStore,
    make_kapusta: MakeKapusta,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """If the keeper's thread dies, its worker stops before others may take its tasks, and says so."""
    room = Mortal()
    monkeypatch.setattr("kapusta._worker.Worker._make_room", lambda worker, crud: room)
    kapusta = make_kapusta(on_sqlite())
    stopped = asyncio.Event()
    begun = asyncio.Event()

    @kapusta.task()
    async def work() -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            stopped.set()

    await kapusta.startup()
    first = await work.launch()
    await asyncio.wait_for(begun.wait(), 10)
    room.let_go.set()
    await asyncio.wait_for(stopped.wait(), 10)
    kapusta.create_listening_task()
    second = await work.launch()
    await kapusta.run_until_idle()
    await kapusta.shutdown()
    await kapusta.crud.startup()

    assert "The lease keeper ended" in caplog.text
    assert "Nothing is claimed without the lease keeper" in caplog.text
    assert (await stored(kapusta, first)).crashes == 1
    assert (await stored(kapusta, second)).run == 0
    await kapusta.crud.shutdown()


async def test_a_keeper_that_will_not_end_keeps_no_shutdown(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its thread is left behind, with a line that says so."""
    monkeypatch.setattr("kapusta._worker._keeper_thread.ENDING", 0.05)
    room = Mortal(stubborn=True)
    thread = KeeperThread(room, lambda: None, logging.getLogger("kapusta"))  # type: ignore[arg-type]  # all that it needs of a room
    await thread.start()

    await asyncio.wait_for(thread.stop(), 10)

    assert "The lease keeper did not end" in caplog.text
    room.let_go.set()


class Room:
    """A keeper's room whose keeper notes what it is to keep, and does nothing."""

    def __init__(self) -> None:
        self.kept: list[Lease] = []
        self.keeper = SimpleNamespace(keep=self.kept.extend)

    async def live(self, *, is_twin: bool) -> None:
        """Live until cancelled."""
        await asyncio.get_running_loop().create_future()


async def test_a_lease_is_kept_from_before_the_keeper_lives() -> None:
    """What a worker claims while its keeper's thread is still starting is handed over when it has."""
    room = Room()
    thread = KeeperThread(room, lambda: None, logging.getLogger("kapusta"))  # type: ignore[arg-type]  # all that it needs of a room
    lease = Lease(task_id=1, run=1, safe_until=30.0)

    thread.keep([lease])
    await asyncio.sleep(0)  # the turn of the loop in which it would be sent
    await thread.start()
    await eventually(lambda: room.kept == [lease], "the keeper has it")
    await thread.stop()


async def test_a_keeper_whose_start_is_cancelled_as_it_begins_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has said that it lives, and who waited for that is cancelled before hearing it."""
    thread = KeeperThread(Room(), lambda: None, logging.getLogger("kapusta"))  # type: ignore[arg-type]  # all that it needs of a room
    starting = asyncio.ensure_future(thread.start())
    loop = asyncio.get_running_loop()
    hand_over = loop.call_soon_threadsafe

    def cancel_after(callback: Callable[..., object], *args: object) -> object:
        return hand_over(lambda: (callback(*args), starting.cancel()))

    monkeypatch.setattr(loop, "call_soon_threadsafe", cancel_after)
    await asyncio.wait({starting}, timeout=10)
    monkeypatch.undo()

    assert starting.cancelled()
    await thread.stop()
    await eventually(
        lambda: "kapusta-keeper" not in [each.name for each in threading.enumerate()], "the keeper has gone"
    )


async def test_a_keeper_that_dies_before_it_lives_holds_up_no_start(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Its thread cannot even make a loop: whoever waits for it is told, and goes on."""

    def no_loop(main: Coroutine[object, object, None]) -> None:
        main.close()
        raise OSError("too many open files")

    died = asyncio.Event()
    thread = KeeperThread(Room(), died.set, logging.getLogger("kapusta"))  # type: ignore[arg-type]  # all that it needs of a room
    monkeypatch.setattr("asyncio.run", no_loop)

    await asyncio.wait_for(thread.start(), 10)
    await asyncio.wait_for(thread.stop(), 10)

    assert died.is_set()
    assert "The lease keeper ended" in caplog.text
