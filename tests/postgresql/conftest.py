from __future__ import annotations

from collections.abc import AsyncIterator

import asyncpg
import pytest
from sqlalchemy import make_url

from kapusta_sqlalchemy import AlchemyCRUD


@pytest.fixture
async def store(postgres_url: str) -> AsyncIterator[AlchemyCRUD]:
    """A started handle to an empty database."""
    crud = AlchemyCRUD(postgres_url)
    await crud.startup()
    yield crud
    await crud.shutdown()


@pytest.fixture
async def other(store: AlchemyCRUD, postgres_url: str) -> AsyncIterator[AlchemyCRUD]:
    """Another started handle to it."""
    crud = AlchemyCRUD(postgres_url)
    await crud.startup()
    yield crud
    await crud.shutdown()


@pytest.fixture
async def admin(store: AlchemyCRUD, postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of asyncpg's to the database of `store`."""
    url = make_url(postgres_url).set(drivername="postgresql")
    connection = await asyncpg.connect(url.render_as_string(hide_password=False))
    yield connection
    await connection.close()
