"""A Kapusta that is started where another loop, another process or an unfinished shutdown has left it."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import warnings
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from kapusta import BaseCRUD, Kapusta, StoreNotStartedError
from kapusta.testing import ManualClock
from kapusta_memory import MemoryCRUD
from kapusta_sqlalchemy import AlchemyCRUD
from tests.worker.eventually import eventually

PATIENCE = 20


@pytest.fixture(params=["memory", "sqlite", "postgresql", "mysql"])
def anywhere(request: pytest.FixtureRequest, tmp_path: Path) -> BaseCRUD:
    """A store that lives in real time, of each kind."""
    if request.param == "memory":
        return MemoryCRUD()
    if request.param == "sqlite":
        return AlchemyCRUD(f"sqlite+aiosqlite:///{tmp_path / 'tasks.db'}")
    return AlchemyCRUD(
        request.getfixturevalue("postgres_url" if request.param == "postgresql" else "mysql_url")
    )


def ran() -> str:
    """The body of a task."""
    return "ran"


async def test_after_a_shutdown_that_was_cut_short_a_startup_runs_tasks(anywhere: BaseCRUD) -> None:
    """The worker that was told to stop claims nothing more: it must be replaced, not resumed."""
    kapusta = Kapusta(anywhere)
    task = kapusta.register_task(ran, name="ran")
    gate, began = asyncio.Event(), asyncio.Event()

    @kapusta.task(timeout=None, name="long")
    async def long() -> str:
        began.set()
        await gate.wait()
        return "finished"

    await kapusta.startup()
    first = await long.launch()
    await asyncio.wait_for(began.wait(), PATIENCE)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(kapusta.shutdown(), 0.05)  # within its grace

    await kapusta.startup()
    handle = await task.launch()

    assert await handle.result(timeout=PATIENCE) == "ran"
    gate.set()
    assert await first.result(timeout=PATIENCE) == "finished"
    await kapusta.shutdown()


async def test_after_a_shutdown_that_was_cut_short_run_until_idle_runs_tasks(anywhere: BaseCRUD) -> None:
    """The store is still started: to return with a due task untouched would say that nothing is due."""
    kapusta = Kapusta(anywhere)
    task = kapusta.register_task(ran, name="ran")
    gate, began = asyncio.Event(), asyncio.Event()

    @kapusta.task(timeout=None, name="long")
    async def long() -> None:
        began.set()
        await gate.wait()

    await kapusta.startup()
    await long.launch()
    await asyncio.wait_for(began.wait(), PATIENCE)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(kapusta.shutdown(), 0.05)  # within its grace

    handle = await task.launch()
    await asyncio.wait_for(kapusta.run_until_idle(), PATIENCE)

    assert await handle.status() == "success"
    gate.set()
    await kapusta.shutdown()


@pytest.mark.leaves_a_connection  # of a loop that is over: nobody can close it any more
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # as aiomysql finds out, too
def test_after_its_loop_was_closed_a_kapusta_is_shut_down_on_another(anywhere: BaseCRUD) -> None:
    """A program whose `asyncio.run` ended without a shutdown must be able to shut down, and to start again."""
    kapusta = Kapusta(anywhere)
    task = kapusta.register_task(ran, name="ran")

    async def use() -> str:
        async with kapusta:
            return await (await task.launch()).result(timeout=PATIENCE)

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ResourceWarning
        )  # a program that does not shut down leaves a connection
        asyncio.run(kapusta.startup())
        asyncio.run(kapusta.shutdown())
        asyncio.run(kapusta.startup())
        assert asyncio.run(use()) == "ran"
        gc.collect()


async def test_a_loop_in_another_thread_takes_no_store_from_one_that_runs(anywhere: BaseCRUD) -> None:
    """What is started there would find its connections gone; the other loop is told so in words instead."""
    kapusta = Kapusta(anywhere)
    task = kapusta.register_task(ran, name="ran")
    await kapusta.startup()

    def in_a_thread(do: Callable[[], Coroutine[Any, Any, None]]) -> None:
        asyncio.run(do())

    for do in (kapusta.startup, kapusta.shutdown, anywhere.startup, anywhere.shutdown):
        with pytest.raises(StoreNotStartedError, match="another event loop") as refused:
            await asyncio.to_thread(in_a_thread, do)
        assert refused.value.elsewhere

    assert await (await task.launch()).result(timeout=PATIENCE) == "ran"
    await kapusta.shutdown()


def _copied(main: Callable[[], Coroutine[Any, Any, None]]) -> int:
    """Run *main* in a copy of this process, on a loop of its own, and return its exit code."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            logging.disable()
            asyncio.run(asyncio.wait_for(main(), PATIENCE))
            code = 0
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@pytest.fixture
def quiet(request: pytest.FixtureRequest, anywhere: BaseCRUD) -> BaseCRUD:
    """The same, but SQLite by a moved clock: a fork must not come while one of its threads is in the library."""
    if request.node.callspec.params["anywhere"] == "sqlite":
        return AlchemyCRUD(anywhere._address, clock=ManualClock())  # type: ignore[attr-defined]  # it has one
    return anywhere


@pytest.mark.parametrize("before", ["startup", "crud.startup"])
async def test_a_copy_of_a_started_process_starts_runs_and_stops(quiet: BaseCRUD, before: str) -> None:
    """Its worker and its connections are the original's: the copy has its own, and the original's go on."""
    kapusta = Kapusta(quiet)
    task = kapusta.register_task(ran, name="ran")
    await (kapusta.startup() if before == "startup" else quiet.startup())
    first = await task.launch()
    if isinstance(quiet.clock, ManualClock):
        await quiet.clock.settle()
    elif before == "startup" and isinstance(quiet, MemoryCRUD):
        await first.result(timeout=PATIENCE)  # its worker is at work, without a thread that a fork could meet

    async def start_and_stop() -> None:
        await kapusta.startup()
        handle = await task.launch()
        assert await handle.result(timeout=PATIENCE) == "ran"
        await kapusta.shutdown()

    async def stop() -> None:
        await kapusta.shutdown()

    async def stop_after_crud() -> None:
        await quiet.startup()
        await kapusta.shutdown()

    async def launch() -> None:
        await quiet.startup()
        handle = await task.launch()
        assert await handle.status() == "pending"  # its own worker would run it: it has none
        await kapusta.run_until_idle()
        assert await handle.status() == "success"
        await kapusta.shutdown()

    async def listen() -> None:
        await quiet.startup()
        listening = asyncio.create_task(kapusta.listening())
        assert await (await task.launch()).result(timeout=PATIENCE) == "ran"
        await kapusta.shutdown()
        await listening

    async def use_another() -> None:
        with kapusta.using(MemoryCRUD()):
            await start_and_stop()

    # From this thread: one that a fork finds in the middle of something leaves its locks taken in the copy.
    mains = (start_and_stop, stop, stop_after_crud, launch, listen, use_another)
    codes = {main.__name__: _copied(main) for main in mains}

    assert codes == {main.__name__: 0 for main in mains}
    await kapusta.startup()
    assert await first.result(timeout=PATIENCE) == "ran"
    second = await task.launch()
    await eventually(second.status, "the original goes on")
    assert await second.result(timeout=PATIENCE) == "ran"
    await kapusta.shutdown()
