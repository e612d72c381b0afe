"""The floor on PostgreSQL: three statements on one table by asyncpg, with no queue around them."""

from __future__ import annotations

import asyncio

import asyncpg

from benchmarks.contestants.stage import BATCH, Bodies, perform

TABLE = """
CREATE TABLE IF NOT EXISTS task (
    id bigserial PRIMARY KEY, status smallint NOT NULL DEFAULT 0, eta timestamptz NOT NULL DEFAULT now(),
    name text NOT NULL DEFAULT 'noop', payload bytea NOT NULL DEFAULT '', worker text
);
CREATE INDEX IF NOT EXISTS task_waiting ON task (eta, id) WHERE status = 0
"""
LAUNCH = "INSERT INTO task (payload) VALUES ($1)"
LAUNCH_MANY = "INSERT INTO task (payload) SELECT unnest($1::bytea[])"
CLAIM = """
UPDATE task SET status = 1, worker = 'floor' WHERE id IN (
    SELECT id FROM task WHERE status = 0 AND eta <= now() ORDER BY eta, id LIMIT $1 FOR UPDATE SKIP LOCKED
) RETURNING id, name, payload
"""
SETTLE = "UPDATE task SET status = 2 WHERE id = ANY($1::bigint[]) AND status = 1"

BODIES = Bodies()


async def noop() -> None:
    """Do nothing."""
    BODIES.noop()


class Contestant:
    """One connection, batches as large as the number of slots, each run and settled before the next is claimed."""

    def __init__(self) -> None:
        self._connection: asyncpg.Connection | None = None
        self._slots = 0
        self._worker: asyncio.Task[None] | None = None

    async def open(self, url: str, slots: int, names: int) -> None:
        """Connect."""
        self._slots = slots
        self._connection = await asyncpg.connect(url)
        await self._connection.execute(TABLE)

    async def launch(self) -> None:
        """Insert a row."""
        assert self._connection is not None
        await self._connection.execute(LAUNCH, b"{}")

    async def launch_marked(self, number: int) -> None:
        """Not asked: nothing wakes this worker."""
        raise NotImplementedError

    async def launch_many(self, kind: str, count: int, names: int) -> None:
        """Insert many rows by one statement."""
        assert self._connection is not None
        for start in range(0, count, BATCH):
            await self._connection.execute(LAUNCH_MANY, [b"{}"] * min(BATCH, count - start))

    async def start_worker(self) -> asyncio.Task[None] | None:
        """Run until nothing is left."""
        self._worker = asyncio.create_task(self._drain())
        return self._worker

    async def _drain(self) -> None:
        assert self._connection is not None
        while rows := await self._connection.fetch(CLAIM, self._slots):
            await asyncio.gather(*(noop() for _ in rows))
            await self._connection.execute(SETTLE, [row["id"] for row in rows])

    async def stop_worker(self) -> None:
        """Wait for the last outcomes."""
        assert self._worker is not None
        await self._worker

    async def unfinished(self) -> int:
        """Count rows."""
        assert self._connection is not None
        count: int = await self._connection.fetchval("SELECT count(*) FROM task WHERE status < 2")
        return count

    async def close(self) -> None:
        """Disconnect."""
        assert self._connection is not None
        await self._connection.close()


if __name__ == "__main__":
    perform(Contestant(), BODIES)
