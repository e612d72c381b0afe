"""The floor on MariaDB: three statements on one table by aiomysql, with no queue around them."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import urlsplit

import aiomysql  # type: ignore[import-untyped]  # it has no annotations

from benchmarks.contestants.stage import BATCH, Bodies, perform

TABLE = """
CREATE TABLE IF NOT EXISTS task (
    id bigint PRIMARY KEY AUTO_INCREMENT, status tinyint NOT NULL DEFAULT 0, eta datetime(6) NOT NULL DEFAULT NOW(6),
    name varchar(255) NOT NULL DEFAULT 'noop', payload longblob NOT NULL, worker varchar(255),
    KEY task_waiting (status, eta, id)
) ENGINE InnoDB
"""
LAUNCH = "INSERT INTO task (payload) VALUES (%s)"
LOOK = """
SELECT id, name, payload FROM task WHERE status = 0 AND eta <= NOW(6) ORDER BY eta, id LIMIT %s FOR UPDATE SKIP LOCKED
"""
CLAIM = "UPDATE task SET status = 1, worker = 'floor' WHERE id IN ({})"
SETTLE = "UPDATE task SET status = 2 WHERE id IN ({}) AND status = 1"

BODIES = Bodies()


async def noop() -> None:
    """Do nothing."""
    BODIES.noop()


class Contestant:
    """One connection, batches as large as the number of slots, each run and settled before the next is claimed."""

    def __init__(self) -> None:
        self._connection: Any = None
        self._slots = 0
        self._worker: asyncio.Task[None] | None = None

    async def open(self, url: str, slots: int, names: int) -> None:
        """Connect."""
        self._slots = slots
        at = urlsplit(url)
        self._connection = await aiomysql.connect(
            host=at.hostname, port=at.port, user=at.username, db=at.path[1:], autocommit=True
        )
        await self._do("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
        await self._do("SET SESSION sql_notes = 0")
        await self._do(TABLE)

    async def _do(self, text: str, *values: Any) -> Any:
        async with self._connection.cursor() as cursor:
            await cursor.execute(text, values or None)
            return await cursor.fetchall()

    async def _do_to(self, ids: list[int], text: str) -> None:
        await self._do(text.format(", ".join(["%s"] * len(ids))), *ids)

    async def launch(self) -> None:
        """Insert a row."""
        await self._do(LAUNCH, "{}")

    async def launch_marked(self, number: int) -> None:
        """Not asked: nothing wakes this worker."""
        raise NotImplementedError

    async def launch_many(self, kind: str, count: int, names: int) -> None:
        """Insert many rows by one statement."""
        for start in range(0, count, BATCH):
            async with self._connection.cursor() as cursor:
                await cursor.executemany(LAUNCH, [("{}",)] * min(BATCH, count - start))

    async def start_worker(self) -> asyncio.Task[None] | None:
        """Run until nothing is left."""
        self._worker = asyncio.create_task(self._drain())
        return self._worker

    async def _drain(self) -> None:
        while ids := await self._claim():
            await asyncio.gather(*(noop() for _ in ids))
            await self._do_to(ids, SETTLE)

    async def _claim(self) -> list[int]:
        await self._connection.begin()
        ids = [row[0] for row in await self._do(LOOK, self._slots)]
        if ids:
            await self._do_to(ids, CLAIM)
        await self._connection.commit()
        return ids

    async def stop_worker(self) -> None:
        """Wait for the last outcomes."""
        assert self._worker is not None
        await self._worker

    async def unfinished(self) -> int:
        """Count rows."""
        ((count,),) = await self._do("SELECT count(*) FROM task WHERE status < 2")
        return int(count)

    async def close(self) -> None:
        """Disconnect."""
        self._connection.close()


if __name__ == "__main__":
    perform(Contestant(), BODIES)
