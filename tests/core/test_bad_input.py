"""Bad input gets a clear error, and nothing is lost."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from kapusta import Kapusta, TaskStatus
from kapusta.backend import TaskQuery
from kapusta.testing import ManualClock
from kapusta_memory import MemoryCRUD
from kapusta_sqlalchemy import AlchemyCRUD
from tests.core import bad_input, bad_objects
from tests.core.bad_input import LIMIT, Row, Scene, pay, ring

CASES = [(store, row) for row in [*bad_input.TABLE, *bad_objects.TABLE] for store in row.stores]


@pytest.mark.parametrize(("store", "row"), CASES, ids=[f"{store}: {row.about}" for store, row in CASES])
async def test_bad_input(store: str, row: Row, tmp_path: Path) -> None:
    """The error says what, which and what next; what was there before is there, and runs; nothing else is."""
    clock = ManualClock()
    url = f"sqlite+aiosqlite:///{tmp_path / 'tasks.db'}"
    crud = MemoryCRUD(clock=clock) if store == "memory" else AlchemyCRUD(url, clock=clock)
    kapusta = Kapusta(crud, max_payload_bytes=LIMIT)
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    scene = Scene(
        kapusta,
        crud,
        kapusta.register_task(pay, name="pay"),
        kapusta.register_task(ring, name="ring"),
        folder,
    )
    await crud.startup()
    before = await scene.pay.launch(7)

    with pytest.raises(row.error) as caught:
        await provoked(row, scene)

    assert type(caught.value) is row.error
    assert [word for word in row.words if word not in str(caught.value)] == [], str(caught.value)
    assert "secret" not in str(caught.value)
    await kapusta.run_until_idle()
    assert await before.result() == 7
    tasks = await crud.find_tasks(TaskQuery())
    assert [task.status for task in tasks] == [TaskStatus.success] * (1 + row.done)
    await kapusta.shutdown()


async def provoked(row: Row, scene: Scene) -> None:
    """Do what the row is about, now or in a coroutine."""
    if inspect.isawaitable(answer := row.provoke(scene)):
        await answer


async def test_an_unknown_task_id_is_none_where_one_asks_by_id(kapusta: Kapusta) -> None:
    """``kapusta.get_task_status`` and ``get_task_result`` answer ``None``, as they always did."""
    assert await kapusta.get_task_status(7) is None
    assert await kapusta.get_task_result(7) is None
