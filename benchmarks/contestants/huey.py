"""Huey, with its queue in SQLite."""

from __future__ import annotations

import asyncio
from typing import Any

from huey import SqliteHuey
from huey.consumer import Consumer

from benchmarks.contestants.stage import Bodies, perform

BODIES = Bodies()


class InThisProcess(Consumer):  # type: ignore[misc]  # it has no annotations
    """A consumer that leaves the signals of the process alone."""

    def _set_signal_handlers(self) -> None: ...


class Contestant:
    """The default options, but for the number of worker threads."""

    def __init__(self, *, fsync: bool | None = None) -> None:
        self._fsync = fsync
        self._huey: Any = None
        self._tasks: dict[str, Any] = {}
        self._consumer: Any = None
        self._slots = 0

    async def open(self, url: str, slots: int, names: int) -> None:
        """Open the file."""
        self._slots = slots
        self._huey = SqliteHuey(filename=url.removeprefix("sqlite:///"), fsync=self._fsync)
        bodies = {"noop": BODIES.noop, "mark": BODIES.mark, "burn": BODIES.burn}
        self._tasks = {name: self._huey.task(name=name)(_plain(body)) for name, body in bodies.items()}

    async def launch(self) -> None:
        """Enqueue one task."""
        self._tasks["noop"]()

    async def launch_marked(self, number: int) -> None:
        """Enqueue one task with an argument."""
        self._tasks["mark"](number)

    async def launch_many(self, kind: str, count: int, names: int) -> None:
        """Enqueue one task after another: there is no call for many."""
        for _ in range(count):
            self._tasks[kind]()

    async def start_worker(self) -> asyncio.Task[None] | None:
        """Start the threads of a consumer."""
        self._consumer = InThisProcess(self._huey, workers=self._slots)
        self._consumer.start()
        return None

    async def stop_worker(self) -> None:
        """Stop the consumer, and wait for its threads."""
        await asyncio.to_thread(self._consumer.stop, graceful=True)

    async def unfinished(self) -> int:
        """Count the tasks in the queue, which a task leaves when it starts."""
        return int(self._huey.pending_count())

    async def close(self) -> None:
        """Close the file."""
        self._huey.storage.close()


def _plain(body: Any) -> Any:
    """Return a function, as `task()` wants; a bound method has no name that can be set."""

    def run(*words: int) -> None:
        body(*words)

    return run


if __name__ == "__main__":
    perform(Contestant(), BODIES)
