"""Children of `process` tasks: killed with all they started, and kept from starting the application again."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from kapusta import Kapusta, TaskFailedError, TaskStatus
from kapusta.backend import StoredTask, TaskQuery
from kapusta_memory import MemoryCRUD
from kapusta_sqlalchemy import AlchemyCRUD
from tests.processes.programs import bodies
from tests.worker.eventually import eventually
from tests.worker.leftovers import is_alive

UNGUARDED = """
import asyncio

from kapusta import AlchemyCRUD, Kapusta

DB_URL = '{url}'

kapusta = Kapusta(
    crud=AlchemyCRUD(DB_URL)
)


@kapusta.task()
def task():
    print('test')


@kapusta.task(execution_mode='process')
def far_away():
    print('never')


async def main():
    await kapusta.startup()  # At the start of the application.

    await task.launch()
    await far_away.launch()
    # in this example, you need to wait for the task to be completed in the main thread.
    await asyncio.sleep(1)

    await kapusta.shutdown()  # At the end of the application


asyncio.run(main())
"""


async def test_a_timeout_kills_the_child_and_what_it_has_started(tmp_path: Path) -> None:
    """After a `process` timeout the child's pid and its own child's pid are gone, though that one ignores SIGTERM."""
    kapusta = Kapusta(MemoryCRUD())
    sleep = kapusta.register_task(bodies.start_a_child_and_sleep, "process", name="sleep", timeout=3)

    async with kapusta:
        handle = await sleep.launch(folder=str(tmp_path))
        with pytest.raises(TaskFailedError) as failed:
            await handle.result(timeout=30)

        [[child, _, grandchild]] = bodies.notes(str(tmp_path))
        assert failed.value.status is TaskStatus.timeout
        await eventually(
            lambda: not is_alive(int(child)) and not is_alive(int(grandchild)), "both are gone", within=5
        )


async def test_what_has_left_the_process_group_goes_on_and_keeps_nobody(tmp_path: Path) -> None:
    """A child's own child that has called `setsid` outlives the timeout; neither the outcome nor the shutdown waits for it."""
    kapusta = Kapusta(MemoryCRUD())
    sleep = kapusta.register_task(bodies.leave_a_child_and_sleep, "process", name="sleep", timeout=3)

    async with asyncio.timeout(40), kapusta:
        handle = await sleep.launch(folder=str(tmp_path))
        with pytest.raises(TaskFailedError) as failed:
            await handle.result(timeout=30)

    [[grandchild, _]] = bodies.notes(str(tmp_path))
    went_on = is_alive(int(grandchild))
    os.kill(int(grandchild), signal.SIGKILL)
    assert failed.value.status is TaskStatus.timeout
    assert went_on


async def test_what_a_child_has_started_ends_with_its_crash(tmp_path: Path) -> None:
    """When a child is killed by others, its own child does not go on beside the next attempt."""
    kapusta = Kapusta(MemoryCRUD())
    die = kapusta.register_task(bodies.start_a_child_and_die, "process", name="die", max_crashes=1)

    async with kapusta:
        handle = await die.launch(folder=str(tmp_path))
        with pytest.raises(TaskFailedError) as failed:
            await handle.result(timeout=30)

        [[_, _, grandchild]] = bodies.notes(str(tmp_path))
        assert failed.value.status is TaskStatus.held
        await eventually(lambda: not is_alive(int(grandchild)), "it is gone", within=5)


async def test_an_unguarded_program_is_not_started_again_by_its_child(tmp_path: Path) -> None:
    """One `process` task added to the brief's unguarded example: exactly one of each is stored.

    The outcome of the one whose child would have run the program again names the guard.
    """
    url = f"sqlite+aiosqlite:///{tmp_path}/tasks.db"
    program = tmp_path / "simple.py"
    program.write_text(UNGUARDED.format(url=url))
    child = await asyncio.create_subprocess_exec(
        sys.executable, str(program), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        printed, _ = await child.communicate()

    near, far = sorted(await stored(url), key=lambda task: task.mode)[::-1]
    assert child.returncode == 0
    assert printed.decode().splitlines() == ["test"]
    assert (near.name, near.status) == ("simple.task", TaskStatus.success)
    assert (far.name, far.status) == ("simple.far_away", TaskStatus.error)
    assert far.error is not None
    assert 'if __name__ == "__main__":' in far.error


async def stored(url: str) -> list[StoredTask]:
    """All tasks of a store."""
    crud = AlchemyCRUD(url)
    await crud.startup()
    try:
        return list(await crud.find_tasks(TaskQuery()))
    finally:
        await crud.shutdown()
