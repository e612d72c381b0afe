"""Kapusta, on any engine."""

from __future__ import annotations

import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.contestants.ballast import LAST_ID, fill
from benchmarks.contestants.stage import BATCH, Bodies, perform
from kapusta import Kapusta, Task
from kapusta.backend import TaskQuery

DRIVERS = {
    "postgresql": "postgresql+asyncpg",
    "mysql": "mysql+aiomysql",
    "sqlite": "sqlite+aiosqlite",
    "memory": "memory",
}
PASSES = 5  # a name's tasks are launched in so many parts, so that names alternate in the order of launches

BODIES = Bodies()


async def noop() -> None:
    """Do nothing."""
    BODIES.noop()


async def mark(number: int) -> None:
    """Record the start."""
    BODIES.mark(number)


async def burn() -> None:
    """Use CPU."""
    BODIES.burn()


def in_thread() -> None:
    """Do nothing, in a thread."""
    BODIES.noop()


def in_process(path: str) -> None:
    """Append a byte to a file, in a child process."""
    with Path(path).open("ab") as file:
        file.write(b".")


class Contestant:
    """The default options, but for the number of slots."""

    def __init__(self) -> None:
        self._kapusta: Kapusta | None = None
        self._tasks: dict[str, Task[..., Any]] = {}
        self._url = ""

    async def open(self, url: str, slots: int, names: int) -> None:
        """Open the store, without a worker."""
        scheme, _, rest = url.partition("://")
        self._url = f"{DRIVERS[scheme]}://{rest}"
        self._kapusta = kapusta = Kapusta(crud=self._url, max_concurrent_tasks=slots)
        self._tasks = {
            "noop": kapusta.register_task(noop, name="noop"),
            "mark": kapusta.register_task(mark, name="mark"),
            "burn": kapusta.register_task(burn, name="burn"),
            "thread": kapusta.register_task(in_thread, "thread", name="thread"),
            "process": kapusta.register_task(in_process, "process", name="process"),
        }
        for number in range(names):
            self._tasks[f"noop-{number}"] = kapusta.register_task(noop, name=f"noop-{number}")
        await kapusta.crud.startup()

    async def launch(self) -> None:
        """Launch ``noop``."""
        await self._tasks["noop"].launch()

    async def launch_marked(self, number: int) -> None:
        """Launch ``mark``."""
        await self._tasks["mark"].launch(number)

    async def launch_many(self, kind: str, count: int, names: int) -> None:
        """Launch by ``launch_many()``, which stores all of a call's tasks or none."""
        call: dict[str, Any] = {}
        if kind == "process":
            handle, path = tempfile.mkstemp(prefix="kapusta-bench-")
            os.close(handle)
            BODIES.touched, call = Path(path), {"path": path}
        if names:
            for _ in range(PASSES):
                for number in range(names):
                    await self._tasks[f"{kind}-{number}"].launch_many([call] * (count // names // PASSES))
            return
        for start in range(0, count, BATCH):
            await self._tasks[kind].launch_many([call] * min(BATCH, count - start))

    async def start_worker(self) -> asyncio.Task[None] | None:
        """Start what ``startup()`` starts on an open store."""
        assert self._kapusta is not None
        self._kapusta.create_listening_task()
        return None

    async def stop_worker(self) -> None:
        """Shut down, and open the store again for the last question."""
        assert self._kapusta is not None
        await self._kapusta.shutdown()
        await self._kapusta.crud.startup()

    async def unfinished(self) -> int:
        """Return the number of tasks that are pending or started."""
        assert self._kapusta is not None
        query = TaskQuery(statuses={"pending", "started"}, after_id=LAST_ID, limit=100_000)  # type: ignore[arg-type]  # words will do
        return len(await self._kapusta.crud.find_tasks(query))

    async def close(self) -> None:
        """Close the store."""
        assert self._kapusta is not None
        await self._kapusta.shutdown()
        if BODIES.touched is not None:
            BODIES.touched.unlink()
            BODIES.touched = None

    async def burden(self, finished: int, future: int, unknown: int) -> None:
        """Copy one task of each kind as often as asked."""
        await fill(self._tasks["noop"], self._url, finished=finished, future=future, unknown=unknown)


if __name__ == "__main__":
    perform(Contestant(), BODIES)
