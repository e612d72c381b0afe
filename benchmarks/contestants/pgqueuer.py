"""PgQueuer, on PostgreSQL and in memory."""

from __future__ import annotations

import asyncio
from typing import Any

import asyncpg
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.queries import Queries

from benchmarks.contestants.stage import BATCH, Bodies, perform

BODIES = Bodies()


async def noop(job: Job) -> None:
    """Do nothing."""
    BODIES.noop()


async def mark(job: Job) -> None:
    """Record the start."""
    BODIES.mark(int(job.payload))


async def burn(job: Job) -> None:
    """Use CPU."""
    BODIES.burn()


class Contestant:
    """As its guide to performance advises.

    The queue manager has one connection of its own and the producer another, the tables have the recommended settings of
    autovacuum, and batches are as large as the number of slots. Unless *capped*, nothing limits concurrent tasks: with a
    cap, the claim is a slower statement, and a batch may be half as large at most.
    """

    def __init__(self, *, capped: bool = False) -> None:
        self._capped = capped
        self._connections: list[asyncpg.Connection] = []
        self._queue: PgQueuer | None = None
        self._producer: Any = None
        self._worker: asyncio.Task[None] | None = None
        self._slots = 0

    async def open(self, url: str, slots: int, names: int) -> None:
        """Connect."""
        self._slots = slots
        if url.startswith("memory"):
            self._queue = PgQueuer.in_memory()
            self._producer = self._queue.qm.queries
        else:
            self._connections = [await asyncpg.connect(url) for _ in range(2)]
            drivers = [AsyncpgDriver(connection) for connection in self._connections]
            self._producer, self._queue = Queries(drivers[0]), PgQueuer(drivers[1])
            if not await self._producer.schema_is_installed():
                await self._producer.install()
                await self._producer.optimize_autovacuum()
        for body in (noop, mark, burn):
            self._queue.entrypoint(body.__name__)(body)
        for number in range(names):
            self._queue.entrypoint(f"noop-{number}")(noop)

    async def launch(self) -> None:
        """Enqueue one job."""
        await self._producer.enqueue(["noop"], [None], [0])

    async def launch_marked(self, number: int) -> None:
        """Enqueue one job with a payload."""
        await self._producer.enqueue(["mark"], [str(number).encode()], [0])

    async def launch_many(self, kind: str, count: int, names: int) -> None:
        """Enqueue many jobs by one call."""
        called = [f"{kind}-{number}" for number in range(names)] if names else [kind]
        entrypoints = [called[place % len(called)] for place in range(count)]
        for start in range(0, count, BATCH):
            part = entrypoints[start : start + BATCH]
            await self._producer.enqueue(part, [None] * len(part), [0] * len(part))

    async def start_worker(self) -> asyncio.Task[None] | None:
        """Run the queue and its scheduler, as `pgq run` does."""
        assert self._queue is not None
        limits = (
            {"batch_size": self._slots // 2, "max_concurrent_tasks": self._slots}
            if self._capped
            else {"batch_size": self._slots}
        )
        self._worker = asyncio.create_task(self._queue.run(**limits))
        return self._worker

    async def stop_worker(self) -> None:
        """Shut down, which flushes what is buffered."""
        assert self._queue is not None
        assert self._worker is not None
        self._queue.shutdown.set()
        await self._worker

    async def unfinished(self) -> int:
        """Count the jobs in the queue, which those that have ended leave."""
        return sum(part.count for part in await self._producer.queue_size())

    async def close(self) -> None:
        """Disconnect."""
        for connection in self._connections:
            await connection.close()


if __name__ == "__main__":
    perform(Contestant(), BODIES)
