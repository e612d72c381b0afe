"""One run on one engine: load, faults, calm, and the check of what has become of it all."""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Final

import msgspec

from kapusta.backend import BaseCRUD, StoreUnavailableError, TaskQuery, TaskStatus
from kapusta.testing import Proxy
from kapusta_sqlalchemy import AlchemyCRUD
from tests.chaos.checker import violations
from tests.chaos.crew import Member
from tests.chaos.engines import ENGINES, Engine
from tests.chaos.faults import Faults
from tests.chaos.figures import Figures
from tests.chaos.history import History, Row
from tests.chaos.journal import Journal, Reader
from tests.chaos.load import Load
from tests.chaos.recording import nonce_in
from tests.chaos.watch import Watch
from tests.worker.eventually import eventually

LEASE: Final = 2.0
"""Short, so that much happens in a minute."""
_STAYS_DRY: Final = 0.5
"""For so many seconds nothing must come after: what a network has delivered late, the server may be at still."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How long a run is, and what it is made of.

    Attributes:
        seconds: for how long faults are made, at least.
        least: how often each kind of fault is made, at least.
        drain: so many seconds after the last fault everything must have ended.
    """

    engine: str
    seed: int
    seconds: float = 0.0
    least: int = 1
    workers: int = 3
    lanes: int = 2
    rate: float = 6.0
    drain: float = 60.0


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What a run has come to, and what was written down of it."""

    figures: Figures
    history: History
    folder: Path


async def run(plan: Plan, folder: Path) -> Outcome:
    """Carry out a plan; the history stays in *folder*."""
    engine = await asyncio.to_thread(ENGINES[plan.engine], folder)
    try:
        return await _Run(plan, engine, folder).go()
    finally:
        await asyncio.to_thread(engine.stop)


class _Run:
    """The parts of one run; lives on one event loop."""

    def __init__(self, plan: Plan, engine: Engine, folder: Path) -> None:
        self._plan, self._engine, self._folder = plan, engine, folder
        self._chance = random.Random(plan.seed)
        self._journal = Journal(folder)
        self._watch = Watch(Reader(folder))
        self._crew = [Member(engine, folder, LEASE, children=number < 2) for number in range(plan.workers)]
        self._store = AlchemyCRUD(engine.url)  # a look at the store that nothing comes between

    async def go(self) -> Outcome:
        await self._store.startup()
        try:
            async with asyncio.TaskGroup() as living:
                for member in self._crew:
                    living.create_task(member.live())
                try:
                    await self._storm()
                    took = await drained(self._store, within=self._plan.drain)
                finally:
                    await asyncio.gather(*(member.stop() for member in self._crew))
            rows = await rows_of(self._store)
        finally:
            await self._store.shutdown()
        (self._folder / "rows.json").write_bytes(msgspec.json.format(msgspec.json.encode(rows)))
        history = History.of(self._watch.look())
        figures = Figures.of(history, rows, violations(history, rows), drained=took)
        return Outcome(figures=figures, history=history, folder=self._folder)

    async def _storm(self) -> None:
        """Load and faults, until all faults are made."""
        plan = self._plan
        faults = Faults(
            self._engine,
            self._crew,
            self._journal,
            self._watch,
            self._chance,
            lease=LEASE,
            seconds=plan.seconds,
            least=plan.least,
        )
        over = asyncio.Event()
        async with AsyncExitStack() as stack, asyncio.TaskGroup() as storm:
            url, proxy = self._engine.url, None
            if self._engine.server is not None:
                address = self._engine.address
                proxy = await stack.enter_async_context(Proxy(address.host or "", address.port or 0))
                url = self._engine.url_at(proxy.port)
            load = Load(url, self._journal, self._chance, rate=plan.rate)
            await load.startup()
            launching = storm.create_task(load.go_on(over))
            lanes = [storm.create_task(faults.lane()) for _ in range(plan.lanes)]
            if proxy is not None:
                storm.create_task(faults.disturb(proxy, list(lanes)))
                lanes.append(storm.create_task(faults.restart_server()))
            await asyncio.wait(lanes)
            over.set()
            await launching


async def drained(store: BaseCRUD, *, within: float) -> float:
    """Wait until everything has ended, or for so long as it may take; answer how long it took."""
    began = time.monotonic()
    underway = TaskQuery(statuses=frozenset({TaskStatus.pending, TaskStatus.started}), limit=1)
    dry_since: float | None = None

    async def is_dry() -> object:
        nonlocal dry_since
        try:
            left = await store.find_tasks(underway)
        except StoreUnavailableError:
            return False  # the connection was one from before the last restart
        dry_since = None if left else dry_since or time.monotonic()
        return dry_since is not None and time.monotonic() > dry_since + _STAYS_DRY

    with suppress(AssertionError):  # the checker says which tasks are left
        await eventually(is_dry, "everything has ended", within=within)
    return (dry_since or time.monotonic()) - began


async def rows_of(store: BaseCRUD) -> list[Row]:
    """All tasks, as the checker wants them."""
    rows: list[Row] = []
    while page := await store.find_tasks(TaskQuery(after_id=rows[-1].task if rows else 0, limit=500)):
        rows += [
            Row(
                task=task.id,
                serial=msgspec.json.decode(task.payload)["serial"],
                status=str(task.status),
                run=task.run,
                failures=task.failures,
                nonce=nonce_in(task.result, task.error),
            )
            for task in page
        ]
    return rows
