from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from kapusta_sqlalchemy import AlchemyCRUD


@pytest.fixture
async def store(mysql_url: str) -> AsyncIterator[AlchemyCRUD]:
    """A started handle to an empty database."""
    crud = AlchemyCRUD(mysql_url)
    await crud.startup()
    yield crud
    await crud.shutdown()


@pytest.fixture
async def other(store: AlchemyCRUD, mysql_url: str) -> AsyncIterator[AlchemyCRUD]:
    """Another started handle to it."""
    crud = AlchemyCRUD(mysql_url)
    await crud.startup()
    yield crud
    await crud.shutdown()
