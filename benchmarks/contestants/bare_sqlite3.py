"""The floor on SQLite: three statements on one table by the standard library, as durable as Kapusta's."""

from __future__ import annotations

import asyncio
import sqlite3
import time

from benchmarks.contestants.stage import BATCH, Bodies, perform

TABLE = """
CREATE TABLE IF NOT EXISTS task (
    id INTEGER PRIMARY KEY, status INTEGER NOT NULL DEFAULT 0, eta REAL NOT NULL, name TEXT NOT NULL DEFAULT 'noop',
    payload BLOB NOT NULL, worker TEXT
);
CREATE INDEX IF NOT EXISTS task_waiting ON task (eta, id) WHERE status = 0;
"""
LAUNCH = "INSERT INTO task (eta, payload) VALUES (?, ?)"
CLAIM = """
UPDATE task SET status = 1, worker = 'floor' WHERE id IN (
    SELECT id FROM task WHERE status = 0 AND eta <= ? ORDER BY eta, id LIMIT ?
) RETURNING id, name, payload
"""
SETTLE = "UPDATE task SET status = 2 WHERE id = ? AND status = 1"

BODIES = Bodies()


async def noop() -> None:
    """Do nothing."""
    BODIES.noop()


class Contestant:
    """One connection in the thread of the event loop, and ``synchronous=FULL``."""

    def __init__(self) -> None:
        self._connection: sqlite3.Connection | None = None
        self._slots = 0
        self._worker: asyncio.Task[None] | None = None

    @property
    def _open(self) -> sqlite3.Connection:
        assert self._connection is not None
        return self._connection

    async def open(self, url: str, slots: int, names: int) -> None:
        """Open the file."""
        self._slots = slots
        self._connection = sqlite3.connect(url.removeprefix("sqlite:///"), isolation_level=None)
        self._open.execute("PRAGMA journal_mode = WAL")
        self._open.execute("PRAGMA synchronous = FULL")
        self._open.executescript(TABLE)

    async def launch(self) -> None:
        """Insert a row."""
        self._open.execute(LAUNCH, (time.time(), b"{}"))

    async def launch_marked(self, number: int) -> None:
        """Not asked: nothing wakes this worker."""
        raise NotImplementedError

    async def launch_many(self, kind: str, count: int, names: int) -> None:
        """Insert many rows in one transaction."""
        for start in range(0, count, BATCH):
            self._open.execute("BEGIN IMMEDIATE")
            self._open.executemany(LAUNCH, [(time.time(), b"{}")] * min(BATCH, count - start))
            self._open.execute("COMMIT")

    async def start_worker(self) -> asyncio.Task[None] | None:
        """Run until nothing is left."""
        self._worker = asyncio.create_task(self._drain())
        return self._worker

    async def _drain(self) -> None:
        while rows := self._open.execute(CLAIM, (time.time(), self._slots)).fetchall():
            await asyncio.gather(*(noop() for _ in rows))
            self._open.execute("BEGIN IMMEDIATE")
            self._open.executemany(SETTLE, [(row[0],) for row in rows])
            self._open.execute("COMMIT")

    async def stop_worker(self) -> None:
        """Wait for the last outcomes."""
        assert self._worker is not None
        await self._worker

    async def unfinished(self) -> int:
        """Count rows."""
        ((count,),) = self._open.execute("SELECT count(*) FROM task WHERE status < 2").fetchall()
        return int(count)

    async def close(self) -> None:
        """Close the file."""
        self._open.close()


if __name__ == "__main__":
    perform(Contestant(), BODIES)
