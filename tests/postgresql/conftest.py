from __future__ import annotations

import secrets
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


@pytest.fixture
async def admin_of_empty(postgres_url: str) -> AsyncIterator[asyncpg.Connection]:
    """A connection of asyncpg's to an empty database."""
    url = make_url(postgres_url).set(drivername="postgresql")
    connection = await asyncpg.connect(url.render_as_string(hide_password=False))
    yield connection
    await connection.close()


@pytest.fixture
async def lesser_url(admin_of_empty: asyncpg.Connection, postgres_url: str) -> AsyncIterator[str]:
    """The same database, for a role that may read and write rows and create nothing."""
    role = f"lesser_{secrets.token_hex(4)}"
    await admin_of_empty.execute(
        f"CREATE ROLE {role} LOGIN PASSWORD 'secret'; REVOKE CREATE ON SCHEMA public FROM PUBLIC;"
        f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}"
    )
    url = make_url(postgres_url).set(username=role, password="secret")
    yield url.render_as_string(hide_password=False)
    await admin_of_empty.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", role
    )
    await admin_of_empty.execute(f"DROP OWNED BY {role}; DROP ROLE {role}")
