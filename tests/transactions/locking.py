"""Somebody else who keeps the tasks locked, on each database."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

LOCK = {
    "sqlite": "BEGIN IMMEDIATE",
    "postgresql": "LOCK TABLE kapusta_task IN EXCLUSIVE MODE",
    "mysql": "LOCK TABLES kapusta_task WRITE",
}
"""What keeps others from writing tasks."""

UNLOCK = {"sqlite": "ROLLBACK", "postgresql": "ROLLBACK", "mysql": "UNLOCK TABLES"}

IMPATIENCE = {
    "sqlite": "PRAGMA busy_timeout = 100",
    "postgresql": "SET lock_timeout = '100ms'",
    "mysql": "SET SESSION lock_wait_timeout = 1",
}
"""How the caller says that it does not wait for long."""


@asynccontextmanager
async def locked(url: str, kind: str) -> AsyncIterator[None]:
    """Somebody else keeps all tasks locked."""
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    try:
        async with engine.connect() as connection:
            if kind == "postgresql":
                await connection.execute(text("BEGIN"))
            await connection.execute(text(LOCK[kind]))
            try:
                yield
            finally:
                await connection.execute(text(UNLOCK[kind]))
    finally:
        await engine.dispose()
