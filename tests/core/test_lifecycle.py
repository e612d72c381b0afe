"""Starting and stopping, in whatever order."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kapusta import BaseCRUD, Kapusta, StoreNotStartedError, TaskStatus
from kapusta._executors._process import ProcessExecutor
from kapusta_memory import MemoryCRUD
from kapusta_sqlalchemy import AlchemyCRUD
from tests.brief.bodies import where


@pytest.fixture(params=["memory", "sqlite"])
def real(request: pytest.FixtureRequest, tmp_path: Path) -> BaseCRUD:
    """A store that lives in real time, with all the threads that come with it."""
    if request.param == "memory":
        return MemoryCRUD()
    return AlchemyCRUD(f"sqlite+aiosqlite:///{tmp_path / 'tasks.db'}")


async def test_an_application_that_ends_at_once_ends(real: BaseCRUD) -> None:
    """A shutdown that comes before the listening task has had its first turn does not wait for ever."""
    kapusta = Kapusta(real)

    for _ in range(3):
        await kapusta.startup()
        await asyncio.wait_for(kapusta.shutdown(), 10)

    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("kapusta")]


async def test_an_application_that_ends_at_once_leaves_no_child(
    real: BaseCRUD, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is stopped as it begins starts no process that nobody would end."""
    calls = []

    async def close(self: ProcessExecutor) -> None:
        calls.append("close")

    monkeypatch.setattr(ProcessExecutor, "warm_up", lambda self: calls.append("warm up"))
    monkeypatch.setattr(ProcessExecutor, "close", close)
    kapusta = Kapusta(real)
    kapusta.register_task(where, "process")

    await kapusta.startup()
    await kapusta.shutdown()

    assert calls in (["close"], ["warm up", "close"])


async def test_twice_is_once(real: BaseCRUD) -> None:
    """Two starts make one worker, and a second shutdown, or one without a start, does nothing."""
    kapusta = Kapusta(real)
    await kapusta.shutdown()

    await asyncio.gather(kapusta.startup(), kapusta.startup())
    await kapusta.startup()
    listening = [task for task in asyncio.all_tasks() if task.get_name() == "kapusta.listening"]
    await asyncio.gather(kapusta.shutdown(), kapusta.shutdown())
    await kapusta.shutdown()

    assert len(listening) == 1
    assert listening[0].done()


async def test_a_kapusta_starts_again_after_it_has_stopped(real: BaseCRUD) -> None:
    """What was launched before is there, and runs."""
    kapusta = Kapusta(real)
    task = kapusta.register_task(lambda: 42, name="answer")
    async with kapusta:
        kapusta.stop_listening_task()
        handle = await task.launch()
    with pytest.raises(StoreNotStartedError):
        await handle.status()

    async with kapusta:
        assert await handle.result(timeout=10) == 42


def test_a_kapusta_starts_again_on_another_event_loop(real: BaseCRUD) -> None:
    """As tests and scripts do, with one application object at the top of a module."""
    kapusta = Kapusta(real)
    task = kapusta.register_task(lambda: 42, name="answer")

    async def once() -> int:
        async with kapusta:
            return await (await task.launch()).result(timeout=10)

    assert [asyncio.run(once()), asyncio.run(once())] == [42, 42]


async def test_a_started_store_takes_launches_and_runs_nothing(real: BaseCRUD) -> None:
    """``crud.startup()`` alone is enough to launch; the listening task runs it when it is created."""
    kapusta = Kapusta(real)
    task = kapusta.register_task(lambda: 42, name="answer")
    await kapusta.crud.startup()
    handle = await task.launch()
    await asyncio.sleep(0)
    assert await handle.status() is TaskStatus.pending

    kapusta.create_listening_task()

    assert await handle.result(timeout=10) == 42
    await kapusta.shutdown()


async def test_a_stopped_listening_task_claims_nothing_until_it_goes_on(crud: BaseCRUD) -> None:
    """What was launched meanwhile waits; nothing of it is lost."""
    kapusta = Kapusta(crud)
    task = kapusta.register_task(lambda: 42, name="answer")
    async with kapusta:
        kapusta.stop_listening_task()
        handle = await task.launch()
        await kapusta.crud.clock.settle()
        assert await handle.status() is TaskStatus.pending

        kapusta.create_listening_task()
        await kapusta.crud.clock.settle()

        assert await handle.result(timeout=0) == 42


async def test_a_startup_that_fails_can_be_tried_again(tmp_path: Path) -> None:
    """The folder is made after the first try, and nothing stands in the way of the second."""
    folder = tmp_path / "later"
    kapusta = Kapusta(f"sqlite+aiosqlite:///{folder / 'tasks.db'}")
    with pytest.raises(ValueError, match="does not exist"):
        await kapusta.startup()

    folder.mkdir()
    await kapusta.startup()

    await kapusta.shutdown()


async def test_running_until_idle_on_a_store_that_is_not_started_says_so() -> None:
    """`run_until_idle()` raises at once, and no loop is left complaining."""
    kapusta = Kapusta(MemoryCRUD())

    with pytest.raises(StoreNotStartedError):
        await kapusta.run_until_idle()
