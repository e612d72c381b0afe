"""SAQ, with its queue on PostgreSQL."""

from __future__ import annotations

import asyncio
from typing import Any

from saq import Queue, Worker

from benchmarks.contestants.stage import Bodies, perform

BODIES = Bodies()
AT_ONCE = 20
"""Launches under way at once where many are launched: there is no call for more than one, and the pool has so many connections."""


async def noop(context: Any) -> None:
    """Do nothing."""
    BODIES.noop()


async def mark(context: Any, *, number: int) -> None:
    """Record the start."""
    BODIES.mark(number)


async def burn(context: Any) -> None:
    """Use CPU."""
    BODIES.burn()


class Contestant:
    """The default options, but for the concurrency."""

    def __init__(self) -> None:
        self._queue: Any = None
        self._worker: Any = None
        self._running: asyncio.Task[None] | None = None
        self._slots = 0

    async def open(self, url: str, slots: int, names: int) -> None:
        """Connect, which makes the tables."""
        self._slots = slots
        self._queue = Queue.from_url(url)
        await self._queue.connect()

    async def launch(self) -> None:
        """Enqueue one job."""
        await self._queue.enqueue("noop")

    async def launch_marked(self, number: int) -> None:
        """Enqueue one job with an argument."""
        await self._queue.enqueue("mark", number=number)

    async def launch_many(self, kind: str, count: int, names: int) -> None:
        """Enqueue jobs one by one, some of them at once."""
        rest = iter(range(count))

        async def one_by_one() -> None:
            for _ in rest:
                await self._queue.enqueue(kind)

        await asyncio.gather(*(one_by_one() for _ in range(AT_ONCE)))

    async def start_worker(self) -> asyncio.Task[None] | None:
        """Start a worker."""
        self._worker = Worker(self._queue, functions=[noop, mark, burn], concurrency=self._slots)
        self._running = asyncio.create_task(self._worker.start())
        return self._running

    async def stop_worker(self) -> None:
        """Stop the worker."""
        assert self._running is not None
        # `stop()` gives a body that has ended no time to be recorded, and nothing tells when it has been.
        while await self.unfinished():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        await self._worker.stop()
        await self._running

    async def unfinished(self) -> int:
        """Count the jobs that wait or run."""
        return int(await self._queue.count("queued")) + int(await self._queue.count("active"))

    async def close(self) -> None:
        """Disconnect."""
        await self._queue.disconnect()


if __name__ == "__main__":
    perform(Contestant(), BODIES)
