"""Stores to work on, and Kapustas that are shut down in the end."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from kapusta import Kapusta
from kapusta.backend import BaseCRUD, Clock
from kapusta_memory import MemoryCRUD
from kapusta_sqlalchemy import AlchemyCRUD

OpenStore = Callable[..., BaseCRUD]
MakeKapusta = Callable[..., Kapusta]


def memory_store() -> OpenStore:
    """A callable that gives handles to a new store in memory."""
    first = MemoryCRUD()

    def open_store(clock: Clock | None = None) -> MemoryCRUD:
        handle = MemoryCRUD(clock=clock)
        handle.storage = first.storage
        return handle

    return open_store


def sqlite_store(folder: Path) -> OpenStore:
    """A callable that gives handles to a new SQLite file in *folder*."""

    def open_store(clock: Clock | None = None) -> AlchemyCRUD:
        return AlchemyCRUD(f"sqlite+aiosqlite:///{folder}/tasks.db", clock=clock)

    return open_store


@pytest.fixture
def in_memory() -> OpenStore:
    """A callable that gives handles to one store in memory."""
    return memory_store()


@pytest.fixture
def on_sqlite(tmp_path: Path) -> OpenStore:
    """A callable that gives handles to one SQLite file."""
    return sqlite_store(tmp_path)


@pytest.fixture(params=["memory", "sqlite"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    """A callable that gives handles to one store; the test runs on each kind."""
    return memory_store() if request.param == "memory" else sqlite_store(tmp_path)


@pytest.fixture
async def make_kapusta(nothing_left_behind: None) -> AsyncIterator[MakeKapusta]:
    """Makes Kapustas, and shuts them down when the test is over."""
    made: list[Kapusta] = []

    def make(crud: BaseCRUD, **options: Any) -> Kapusta:
        made.append(Kapusta(crud, **options))
        return made[-1]

    yield make
    for kapusta in made:
        await kapusta.shutdown()
