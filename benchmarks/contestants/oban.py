"""Oban for Python, the free edition."""

from __future__ import annotations

import asyncio
from typing import Any

from oban import Oban, worker
from oban.schema import install

from benchmarks.contestants.stage import BATCH, Bodies, perform

BODIES = Bodies()
KINDS: dict[str, Any] = {}


@worker(queue="default")
class Noop:
    """Do nothing."""

    async def process(self, job: Any) -> None:
        """Do nothing."""
        BODIES.noop()


@worker(queue="default")
class Mark:
    """Record the start."""

    async def process(self, job: Any) -> None:
        """Record the start."""
        BODIES.mark(job.args["number"])


@worker(queue="default")
class Burn:
    """Use CPU."""

    async def process(self, job: Any) -> None:
        """Use CPU."""
        BODIES.burn()


KINDS.update(noop=Noop, mark=Mark, burn=Burn)  # the decorator adds `new()`, which a type checker does not see


class Contestant:
    """The default options, but for the limit of the queue."""

    def __init__(self) -> None:
        self._pool: Any = None
        self._client: Any = None
        self._worker: Any = None
        self._starting: asyncio.Task[None] | None = None
        self._slots = 0

    async def open(self, url: str, slots: int, names: int) -> None:
        """Open a pool, and a client that only enqueues."""
        self._slots = slots
        self._pool = await Oban.create_pool(url)
        async with self._pool.connection() as connection:
            found = await connection.execute("SELECT to_regclass('oban_jobs')")
            installed = (await found.fetchone())[0]
        if not installed:
            await install(self._pool)
        self._client = Oban(pool=self._pool, name="client")
        await self._client.start()

    async def launch(self) -> None:
        """Enqueue one job."""
        await self._client.enqueue(KINDS["noop"].new())

    async def launch_marked(self, number: int) -> None:
        """Enqueue one job with an argument."""
        await self._client.enqueue(KINDS["mark"].new({"number": number}))

    async def launch_many(self, kind: str, count: int, names: int) -> None:
        """Enqueue many jobs by one call."""
        for start in range(0, count, BATCH):
            jobs = [KINDS[kind].new() for _ in range(min(BATCH, count - start))]
            await self._client.enqueue_many(jobs)

    async def start_worker(self) -> asyncio.Task[None] | None:
        """Start an instance with a queue."""
        self._worker = Oban(pool=self._pool, name="worker", queues={"default": self._slots})
        self._starting = asyncio.create_task(self._worker.start())
        return self._starting

    async def stop_worker(self) -> None:
        """Stop it, which stores the last outcomes."""
        assert self._starting is not None
        await self._starting
        await self._worker.stop()

    async def unfinished(self) -> int:
        """Count the jobs that have not completed."""
        async with self._pool.connection() as connection:
            found = await connection.execute(
                "SELECT count(*) FROM oban_jobs WHERE state::text <> 'completed'"
            )
            return int((await found.fetchone())[0])

    async def close(self) -> None:
        """Disconnect."""
        await self._client.stop()
        await self._pool.close()


if __name__ == "__main__":
    perform(Contestant(), BODIES)
