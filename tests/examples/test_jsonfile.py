"""The example of a stranger's backend: as small, as separate and as usable as it claims to be."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from kapusta import Kapusta
from kapusta.backend import NewTask, StoreUnavailableError, StoreUrlError, TaskQuery
from kapusta_jsonfile import JsonFileCRUD
from tests.architecture.tree import ROOT, imported, shown

SOURCES = sorted((ROOT / "examples" / "kapusta-jsonfile" / "src").rglob("*.py"))
MOST_LINES = 250


def test_the_whole_backend_is_short() -> None:
    """A protocol that a stranger can implement takes no more than 250 lines, all files and blank lines counted."""
    lines = {shown(path): len(path.read_text().splitlines()) for path in SOURCES}

    assert lines
    assert sum(lines.values()) <= MOST_LINES, lines


def test_it_imports_the_backend_door_and_the_standard_library_only() -> None:
    """What the example does without, a stranger can do without: no engine, no private module, no other door."""
    others = [
        f"{shown(path, line)} imports {name}"
        for path in SOURCES
        for name, line in imported(path)
        if not name.startswith("kapusta.backend.") and name.partition(".")[0] not in sys.stdlib_module_names
    ]

    assert others == []


async def test_a_url_leads_to_it_and_a_task_runs(tmp_path: Path) -> None:
    """Once installed it is found by its scheme, as the backends of the house are."""
    kapusta = Kapusta(crud=f"jsonfile://{tmp_path}/my%20tasks.json")

    @kapusta.task()
    async def double(number: int) -> int:
        return number * 2

    async with kapusta:
        doubled = await double.launch(21)
        result = await doubled.result(timeout=10)

    assert result == 42
    stored = json.loads((tmp_path / "my tasks.json").read_text())["tasks"]
    assert [(id, task["status"]) for id, task in stored.items()] == [(str(int(doubled)), "success")]


@pytest.mark.parametrize("url", ["jsonfile://tasks.json", "jsonfile://", "jsonfile:///"])
def test_a_url_without_a_path_is_refused(url: str) -> None:
    """Two slashes instead of three name a machine: the mistake is named before a file appears somewhere."""
    with pytest.raises(StoreUrlError, match="three slashes"):
        Kapusta(crud=url)


async def test_another_file_is_left_as_it_is(tmp_path: Path) -> None:
    """A path that leads to something else is an error, and the file keeps its content."""
    path = tmp_path / "settings.json"
    path.write_text('["mine"]')

    with pytest.raises(StoreUrlError, match="leads to something else"):
        await JsonFileCRUD(path).startup()

    assert path.read_text() == '["mine"]'


async def test_a_file_that_has_gone_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    """While a handle is started, a missing file means that the tasks are out of reach, not that there are none."""
    store = JsonFileCRUD(tmp_path / "tasks.json")
    await store.startup()
    (tmp_path / "tasks.json").unlink()

    with pytest.raises(StoreUnavailableError, match="No such file"):
        await store.find_tasks(TaskQuery())


async def test_a_handle_that_waits_for_the_lock_can_be_cancelled(tmp_path: Path) -> None:
    """Another process that has the lock and does not move blocks neither the event loop nor a cancellation."""
    import fcntl

    store = JsonFileCRUD(tmp_path / "tasks.json")
    await store.startup()
    with (tmp_path / "tasks.json.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        adding = asyncio.create_task(
            store.add_tasks([NewTask(id=1, token="a", name="remind", payload=b"{}")])
        )
        for _ in range(10):
            await asyncio.sleep(0)

        adding.cancel()
        with pytest.raises(asyncio.CancelledError):
            await adding

    assert await store.find_tasks(TaskQuery()) == []
