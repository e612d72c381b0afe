"""Waiting for what only the server knows."""

from __future__ import annotations

import asyncio
from typing import Any, Final

import asyncpg

WAITING: Final = "SELECT pid FROM pg_locks WHERE NOT granted LIMIT 1"
"""Who waits for a lock."""
OTHERS: Final = "datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
"""Of ``pg_stat_activity``, all connections to this database but the one that asks."""


async def answered(admin: asyncpg.Connection, question: str) -> Any:
    """The answer to *question*, asked again until it is something; five seconds at most."""
    async with asyncio.timeout(5):
        while not (answer := await admin.fetchval(question)):  # noqa: ASYNC110 - the server tells nobody
            await asyncio.sleep(0.005)
    return answer
