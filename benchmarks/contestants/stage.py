"""Run a contestant as a process that the conductor directs over standard input and output.

The conductor writes one command a line, as JSON, and reads one reply a line. What is measured within a process is measured
here, once for all contestants. This module imports only the standard library, because it runs in every contestant's
environment.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sys
import time
import traceback
from pathlib import Path
from typing import Any, Protocol

BATCH = 1_000
"""Tasks per call where a contestant can launch more than one at once."""


class Contestant(Protocol):
    """A task queue, or the bare driver that shows what its database can do."""

    async def open(self, url: str, slots: int, names: int) -> None:
        """Connect, make the tables if there are none, and register the bodies, without a worker.

        Args:
            url: the database, as a plain URL such as ``postgresql://user@host:port/name``.
            slots: bodies that a worker may run at once.
            names: additional names under which ``noop`` is registered: ``noop-0``, ``noop-1`` and so on.
        """

    async def launch(self) -> None:
        """Launch ``noop``, and return when the task is stored."""

    async def launch_marked(self, number: int) -> None:
        """Launch ``mark`` with its argument."""

    async def launch_many(self, kind: str, count: int, names: int) -> None:
        """Launch *count* tasks in calls of up to `BATCH`; with *names*, spread evenly over that many names."""

    async def start_worker(self) -> asyncio.Task[None] | None:
        """Start a worker, as the contestant's manual does, and return without waiting for it to be ready.

        Return the asyncio task that it runs in, if there is one: then its failure is noticed.
        """

    async def stop_worker(self) -> None:
        """Stop the worker, and return when all outcomes are stored."""

    async def unfinished(self) -> int:
        """Return the number of stored tasks that have no outcome."""

    async def close(self) -> None:
        """Disconnect."""


class Bodies:
    """The bodies of all tasks, and a record of what has run.

    Attributes:
        ends: when each body ended, by the clock that all processes of a machine share.
        marks: number and start of each body that was launched with a number.
        touched: the file to which bodies in other processes append one byte each.
    """

    def __init__(self) -> None:
        self.ends: list[float] = []
        self.marks: list[tuple[int, float]] = []
        self.touched: Path | None = None

    def noop(self) -> None:
        """Do nothing."""
        self.ends.append(time.monotonic())

    def mark(self, number: int) -> None:
        """Record when the body of this number started."""
        now = time.monotonic()
        self.marks.append((number, now))
        self.ends.append(now)

    def burn(self) -> None:
        """Use one millisecond of CPU."""
        end = time.thread_time() + 0.001
        while time.thread_time() < end:
            pass
        self.ends.append(time.monotonic())

    def ran(self) -> int:
        """Return the number of bodies that have ended."""
        elsewhere = self.touched.stat().st_size if self.touched and self.touched.exists() else 0
        return len(self.ends) + elsewhere


class Stage:
    """The commands of the conductor; each method is one, and returns the reply."""

    def __init__(self, contestant: Contestant, bodies: Bodies) -> None:
        self._contestant, self._bodies = contestant, bodies
        self._worker: asyncio.Task[None] | None = None

    async def open(self, url: str, slots: int, names: int) -> dict[str, Any]:
        """Connect, with an empty record."""
        self._bodies.ends.clear()
        self._bodies.marks.clear()
        await self._contestant.open(url, slots, names)
        return {}

    async def launch(self, count: int) -> dict[str, Any]:
        """Launch one task after another."""
        start = time.monotonic()
        for _ in range(count):
            await self._contestant.launch()
        return {"seconds": time.monotonic() - start}

    async def launch_many(self, count: int, kind: str = "noop", names: int = 0) -> dict[str, Any]:
        """Launch many tasks."""
        start = time.monotonic()
        await self._contestant.launch_many(kind, count, names)
        return {"seconds": time.monotonic() - start}

    async def launch_apart(self, count: int, gap: float) -> dict[str, Any]:
        """Launch numbered tasks with a pause before each, and return when each launch began."""
        launched = []
        for number in range(count):
            await asyncio.sleep(gap)
            launched.append(time.monotonic())
            await self._contestant.launch_marked(number)
        return {"launched": launched}

    async def work(self) -> dict[str, Any]:
        """Start a worker."""
        start = time.monotonic()
        self._worker = await self._contestant.start_worker()
        return {"at": start}

    async def ran(self) -> dict[str, Any]:
        """Return the number of bodies that have ended, and when the last one did."""
        if self._worker is not None and self._worker.done():
            self._worker.result()  # raises what has ended it
        ends = self._bodies.ends
        return {"ran": self._bodies.ran(), "last": max(ends) if ends else time.monotonic()}

    async def marks(self) -> dict[str, Any]:
        """Return when each numbered body started."""
        return {"marks": self._bodies.marks}

    async def rest(self) -> dict[str, Any]:
        """Stop the worker, and return what is left."""
        await self._contestant.stop_worker()
        return {"unfinished": await self._contestant.unfinished()}

    async def usage(self) -> dict[str, Any]:
        """Return the seconds of CPU used so far, and the megabytes of memory in use."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return {"cpu": used.ru_utime + used.ru_stime, "megabytes": _megabytes(used.ru_maxrss)}

    async def burden(self, finished: int, future: int, unknown: int) -> dict[str, Any]:
        """Fill the database with tasks that no claim may be slowed by; only Kapusta's program knows how."""
        await self._contestant.burden(finished, future, unknown)  # type: ignore[attr-defined]  # asked of no other
        return {}

    async def close(self) -> dict[str, Any]:
        """Disconnect."""
        await self._contestant.close()
        return {}


def perform(contestant: Contestant, bodies: Bodies) -> None:
    """Carry out commands until standard input ends; the only word of the command line is the event loop's name."""
    factory = None
    if sys.argv[1:] == ["uvloop"]:
        import uvloop

        factory = uvloop.new_event_loop
    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(_perform(Stage(contestant, bodies)))


async def _perform(stage: Stage) -> None:
    replies = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what a library prints is not a reply
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(commands), sys.stdin
    )
    while line := await commands.readline():
        words = json.loads(line)
        try:
            reply = await getattr(stage, words.pop("do"))(**words)
        except Exception:  # noqa: BLE001 - the conductor reports it, whatever it is
            reply = {"error": traceback.format_exc()}
        replies.write(json.dumps(reply) + "\n")


def _megabytes(peak: int) -> float:
    """Return the memory in use now where the system tells it, else the *peak*."""
    status = Path("/proc/self/statm")
    if status.exists():
        return int(status.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
    return peak / 1e6 if sys.platform == "darwin" else peak / 1e3
