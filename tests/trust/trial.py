"""Workers that each have a way of their own to one store, a load, a mishap in the middle, and a check of it all."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from kapusta_sqlalchemy import AlchemyCRUD
from tests.architecture.tree import ROOT
from tests.chaos.bodies import FOLDER
from tests.chaos.checker import Violation, violations
from tests.chaos.events import Stored
from tests.chaos.history import History, Row
from tests.chaos.journal import Journal, Reader
from tests.chaos.load import Load
from tests.chaos.run import drained, rows_of
from tests.chaos.watch import Watch
from tests.worker.eventually import eventually

LEASE = 2.0
RATE = 25.0
"""Launches in a second."""
HALF = int(os.environ.get("KAPUSTA_TRUST_LAUNCHES", "120")) // 2
"""So many launches before the mishap, and so many after it."""


class Trial:
    """A load on a store that several workers have a way to.

    Attributes:
        folder: where the history is.
        watch: what has happened so far.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.watch = Watch(Reader(folder))
        self.rows: Sequence[Row] = ()
        self.took = 0.0
        self._workers: list[asyncio.subprocess.Process] = []

    @asynccontextmanager
    async def under_load(self, workers: Sequence[str], launcher: str) -> AsyncIterator[None]:
        """Workers at these URLs, and launches by another one, while the block lasts; then a store that drains by itself.

        The store is looked at by *launcher*, in the end.
        """
        async with AsyncExitStack() as stack:
            for number, url in enumerate(workers):
                await self._start(url, children=number == 0)
            stack.push_async_callback(self._stop)
            load = Load(launcher, Journal(self.folder), random.Random(0), rate=RATE)
            await load.startup()
            over = asyncio.Event()
            launching = asyncio.create_task(load.go_on(over))
            try:
                yield
            finally:
                over.set()
                await launching
            store = AlchemyCRUD(launcher)
            await store.startup()
            stack.push_async_callback(store.shutdown)
            self.took = await drained(store, within=40)
            self.rows = await rows_of(store)

    async def acknowledged(self, count: int) -> None:
        """Return when so many more launches have been acknowledged."""
        goal = self._count(Stored) + count
        await eventually(
            lambda: self._count(Stored) >= goal, f"{count} more launches", within=40 + 2 * count / RATE
        )

    def violations(self) -> list[Violation]:
        """What must not be, of all that has happened."""
        return violations(self.history, self.rows)

    @property
    def history(self) -> History:
        """What has happened."""
        return History.of(self.watch.look())

    def log(self) -> str:
        """What the workers have logged."""
        return "".join(path.read_text() for path in sorted(self.folder.glob("worker*")))

    def figures(self) -> str:
        """The trial in a line."""
        history = self.history
        refused = sum(
            1 for write in history.writes if write.asked.guard == "holder" and write.answer == "refused"
        )
        return (
            f"{len(history.launches)} launched, {len(history.stored)} acknowledged, {len(self.rows)} stored, "
            f"{len(history.bodies)} bodies, {refused} outcomes refused, drained in {self.took:.1f} s"
        )

    def _count(self, kind: type) -> int:
        return sum(isinstance(event, kind) for event in self.watch.look())

    async def _start(self, url: str, *, children: bool) -> None:
        with (self.folder / f"worker-errors-{len(self._workers)}").open("wb") as errors:
            worker = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.chaos.program",
                url,
                str(LEASE),
                "yes" if children else "no",
                cwd=ROOT,
                env={**os.environ, FOLDER: str(self.folder)},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
            )
        self._workers.append(worker)
        assert worker.stdout is not None
        async with asyncio.timeout(40):
            assert await worker.stdout.readline() == b"ready\n", self.log()

    async def _stop(self) -> None:
        for worker in self._workers:
            assert worker.stdin is not None
            worker.stdin.close()
        give_up = time.monotonic() + 30
        for worker in self._workers:
            try:
                async with asyncio.timeout_at(give_up - time.monotonic() + asyncio.get_running_loop().time()):
                    await worker.wait()
            except TimeoutError:
                worker.kill()
                await worker.wait()
