"""What most tests of the core begin with: a store, and a Kapusta on it, whose time a test moves."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kapusta import BaseCRUD, Kapusta
from kapusta.testing import ManualClock
from kapusta_memory import MemoryCRUD
from kapusta_sqlalchemy import AlchemyCRUD


@pytest.fixture
def clock() -> ManualClock:
    """Time that stands still until the test moves it."""
    return ManualClock()


@pytest.fixture(params=["memory", "sqlite"])
def crud(request: pytest.FixtureRequest, clock: ManualClock, tmp_path: Path) -> BaseCRUD:
    """A store, not started: in memory, and in a file."""
    if request.param == "memory":
        return MemoryCRUD(clock=clock)
    return AlchemyCRUD(f"sqlite+aiosqlite:///{tmp_path / 'tasks.db'}", clock=clock)


@pytest.fixture
async def kapusta(crud: BaseCRUD) -> AsyncIterator[Kapusta]:
    """A Kapusta whose store is started, on each kind of store; nothing runs until it is told to."""
    kapusta = Kapusta(crud)
    await crud.startup()
    yield kapusta
    await kapusta.shutdown()
