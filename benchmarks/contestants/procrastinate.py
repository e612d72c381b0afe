"""Procrastinate, with psycopg."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

from procrastinate import App, PsycopgConnector

from benchmarks.contestants.stage import BATCH, Bodies, perform

BODIES = Bodies()
CONNECTIONS = 10


async def noop() -> None:
    """Do nothing."""
    BODIES.noop()


async def mark(number: int) -> None:
    """Record the start."""
    BODIES.mark(number)


async def burn() -> None:
    """Use CPU."""
    BODIES.burn()


class Contestant:
    """The default options, but for the concurrency and a pool that is large enough for it."""

    def __init__(self) -> None:
        self._app: Any = None
        self._tasks: dict[str, Any] = {}
        self._worker: asyncio.Task[None] | None = None
        self._slots = 0

    async def open(self, url: str, slots: int, names: int) -> None:
        """Open the application."""
        self._slots = slots
        self._app = App(connector=PsycopgConnector(conninfo=url, min_size=CONNECTIONS, max_size=CONNECTIONS))
        self._tasks = {body.__name__: self._app.task(name=body.__name__)(body) for body in (noop, mark, burn)}
        await self._app.open_async()
        found = await self._app.connector.execute_query_one_async(
            "SELECT to_regclass('procrastinate_jobs') AS jobs"
        )
        if found["jobs"] is None:
            await self._app.schema_manager.apply_schema_async()

    async def launch(self) -> None:
        """Defer one job."""
        await self._tasks["noop"].defer_async()

    async def launch_marked(self, number: int) -> None:
        """Defer one job with an argument."""
        await self._tasks["mark"].defer_async(number=number)

    async def launch_many(self, kind: str, count: int, names: int) -> None:
        """Defer many jobs by one call."""
        for start in range(0, count, BATCH):
            await self._tasks[kind].batch_defer_async(*({} for _ in range(min(BATCH, count - start))))

    async def start_worker(self) -> asyncio.Task[None] | None:
        """Run a worker, which also listens for notifications."""
        self._worker = asyncio.create_task(
            self._app.run_worker_async(concurrency=self._slots, install_signal_handlers=False)
        )
        return self._worker

    async def stop_worker(self) -> None:
        """Cancel the worker, which finishes what it has begun."""
        assert self._worker is not None
        self._worker.cancel()
        with suppress(asyncio.CancelledError):
            await self._worker

    async def unfinished(self) -> int:
        """Count the jobs that have not succeeded."""
        found = await self._app.connector.execute_query_one_async(
            "SELECT count(*) AS jobs FROM procrastinate_jobs WHERE status <> 'succeeded'"
        )
        return int(found["jobs"])

    async def close(self) -> None:
        """Close the application."""
        await self._app.close_async()


if __name__ == "__main__":
    perform(Contestant(), BODIES)
