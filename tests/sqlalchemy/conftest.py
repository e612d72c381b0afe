from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kapusta_sqlalchemy import AlchemyCRUD


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the database of the test is."""
    return tmp_path / "tasks.db"


@pytest.fixture
def url(path: Path) -> str:
    """Its URL."""
    return f"sqlite+aiosqlite:///{path}"


@pytest.fixture
async def store(url: str) -> AsyncIterator[AlchemyCRUD]:
    """A started handle to it."""
    crud = AlchemyCRUD(url)
    await crud.startup()
    yield crud
    await crud.shutdown()


@pytest.fixture
async def other(store: AlchemyCRUD, url: str) -> AsyncIterator[AlchemyCRUD]:
    """Another started handle to it."""
    crud = AlchemyCRUD(url)
    await crud.startup()
    yield crud
    await crud.shutdown()
