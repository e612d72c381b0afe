"""A database of each kind, the caller's own transactions in it, and a Kapusta that keeps its tasks there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Column, Engine, Integer, MetaData, Table, create_engine, select
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import Session

from kapusta import Kapusta
from kapusta_sqlalchemy import AlchemyCRUD

Begin = Callable[[], AbstractAsyncContextManager[Any]]
"""Opens a transaction of the caller's, which commits at its end, and rolls back if that is an error."""

orders = Table("orders", MetaData(), Column("id", Integer, primary_key=True, autoincrement=False))
"""A table of the application's own."""

_BLOCKING = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "mysql": "mysql+pymysql"}


async def booked(engine: AsyncEngine) -> list[int]:
    """The application's rows."""
    async with engine.connect() as connection:
        return list((await connection.execute(select(orders.c.id).order_by(orders.c.id))).scalars())


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'tasks.db'}"
    found: str = request.getfixturevalue("postgres_url" if request.param == "postgresql" else "mysql_url")
    return str(found) if isinstance(found, str) else found


@pytest.fixture
async def engine(url: str) -> AsyncIterator[AsyncEngine]:
    """The application's own engine."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        await connection.run_sync(orders.metadata.create_all)
    yield engine
    await engine.dispose()


@pytest.fixture
def blocking_url(url: str) -> str:
    """The same database, by a driver that blocks."""
    return blocking(url)


def blocking(url: str) -> str:
    """The URL of the same database by a driver that blocks."""
    address = make_url(url)
    name = _BLOCKING[address.get_backend_name().replace("mariadb", "mysql")]
    return address.set(drivername=name).render_as_string(hide_password=False)


KINDS = ["AsyncSession", "AsyncConnection", "Session", "Connection"]
"""What can be joined."""


def beginning(kind: str, engine: AsyncEngine, blocks: Engine) -> Begin:
    """Begins transactions of one kind, on the one engine or the other."""

    @asynccontextmanager
    async def begin() -> AsyncIterator[Any]:
        if kind == "AsyncSession":
            async with AsyncSession(engine) as session, session.begin():
                yield session
        elif kind == "AsyncConnection":
            async with engine.begin() as connection:
                yield connection
        elif kind == "Session":
            with Session(blocks) as session, session.begin():
                yield session
        else:
            with blocks.begin() as connection:
                yield connection

    return begin


@pytest.fixture(params=KINDS)
def begin(request: pytest.FixtureRequest, engine: AsyncEngine, blocking_url: str) -> Iterator[Begin]:
    """Each kind of transaction that can be joined."""
    blocks = create_engine(blocking_url)
    yield beginning(request.param, engine, blocks)
    blocks.dispose()


@pytest.fixture
async def kapusta(url: str, engine: AsyncEngine) -> AsyncIterator[Kapusta]:
    """A Kapusta on the application's database; not started. Its bodies have ended before the engine is disposed."""
    kapusta = Kapusta(AlchemyCRUD(url))
    yield kapusta
    await kapusta.shutdown()
