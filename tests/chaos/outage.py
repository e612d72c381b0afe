"""A minute without the store, with leases of half a minute: how many bodies begin twice?

Nobody is killed. Before the store goes, bodies have begun that end at all moments from before the leases do to long after
the store is back; half of them can be stopped and half cannot. Short tasks are launched all the while.
"""

from __future__ import annotations

import asyncio
import random
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Final

import msgspec

from kapusta_sqlalchemy import AlchemyCRUD
from tests.chaos.checker import Violation, violations
from tests.chaos.crew import Member
from tests.chaos.engines import ENGINES, Engine
from tests.chaos.events import Began
from tests.chaos.figures import overlaps, twice
from tests.chaos.history import History
from tests.chaos.journal import Journal, Reader
from tests.chaos.load import Load
from tests.chaos.run import drained, rows_of
from tests.chaos.watch import Watch
from tests.worker.eventually import eventually

LEASE: Final = 30.0
OUTAGE: Final = 60.0
LONG: Final = [10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 80.0, 100.0, 120.0]
"""The seconds of the long bodies, of each of two kinds."""
SETTLED: Final = 5.0
"""Seconds from the last body's begin to the outage."""


class Outage(msgspec.Struct, frozen=True, kw_only=True):
    """What has come of it.

    Attributes:
        again: bodies that began although the same task had begun before.
        beside: those of them that began while the earlier body still went on.
        refused: late answers.
    """

    long: int
    launched: int
    unknown: int
    again: int
    beside: int
    refused: int
    drained: float
    violations: list[Violation]

    def lines(self) -> list[tuple[str, str]]:
        """What is counted, and how much it is."""
        return [
            ("long bodies at work when the store goes", f"{self.long}"),
            ("short tasks launched, before, meanwhile and after", f"{self.launched - self.long}"),
            ("… never acknowledged", f"{self.unknown}"),
            ("bodies begun twice", f"{self.again}"),
            ("… beside the first one", f"{self.beside}"),
            ("late answers refused", f"{self.refused}"),
            ("seconds to drain", f"{self.drained:.0f}"),
            ("violations", f"{len(self.violations)}"),
        ]


@asynccontextmanager
async def gone(engine: Engine) -> AsyncIterator[None]:
    """For the block, the store answers nobody: its server is down, or somebody holds the lock of the file."""
    if engine.server is not None:
        await engine.crash()
        yield
        await engine.recover()
        return
    assert engine.address.database is not None
    with closing(sqlite3.connect(engine.address.database, isolation_level=None)) as other:
        other.execute("PRAGMA busy_timeout = 10000")
        other.execute("BEGIN IMMEDIATE")
        yield


async def outage(name: str, seed: int, folder: Path) -> Outage:
    """Carry it out on one engine; the history stays in *folder*."""
    engine = await asyncio.to_thread(ENGINES[name], folder)
    store = AlchemyCRUD(engine.url)
    crew = [Member(engine, folder, LEASE, children=False) for _ in range(3)]
    watch, over = Watch(Reader(folder)), asyncio.Event()
    load = Load(engine.url, Journal(folder), random.Random(seed), rate=1.0, only="short")
    try:
        await store.startup()
        async with asyncio.TaskGroup() as living:
            for member in crew:
                living.create_task(member.live())
            await load.startup()
            for seconds in LONG:
                await load.launch("long", seconds)
                await load.launch("threaded", seconds)

            def all_have_begun() -> bool:
                return sum(isinstance(event, Began) for event in watch.look()) == 2 * len(LONG)

            await eventually(all_have_begun, "every long body has begun", within=60)
            launching = living.create_task(load.go_on(over))
            await asyncio.sleep(SETTLED)
            async with gone(engine):
                await asyncio.sleep(OUTAGE)
            over.set()
            await launching
            took = await drained(store, within=4 * LEASE + max(LONG))
            await asyncio.gather(*(member.stop() for member in crew))
        rows = await rows_of(store)
    finally:
        await store.shutdown()
        await asyncio.to_thread(engine.stop)
    history = History.of(watch.look())
    return Outage(
        long=2 * len(LONG),
        launched=len(history.launches),
        unknown=len(history.launches) - len(history.stored),
        again=twice(history),
        beside=overlaps(history),
        refused=sum(write.asked.guard == "holder" and write.answer == "refused" for write in history.writes),
        drained=took,
        violations=violations(history, rows),
    )
