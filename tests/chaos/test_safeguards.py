"""What a storm cannot show, as the fence makes it harmless: a lease that no blocked loop costs, a write that nobody calls back."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import msgspec

from kapusta._store import Store
from kapusta.backend import TaskQuery, TaskStatus
from kapusta_sqlalchemy import AlchemyCRUD
from tests.chaos.checker import violations
from tests.chaos.crew import Member
from tests.chaos.engines import ENGINES, Engine
from tests.chaos.events import Answered, Asked, Began, Ended
from tests.chaos.history import History
from tests.chaos.journal import Journal, Reader
from tests.chaos.load import Load
from tests.chaos.outage import gone
from tests.chaos.phases import Snare
from tests.chaos.recording import RecordingCRUD
from tests.chaos.run import drained, rows_of
from tests.chaos.watch import Watch
from tests.sqlalchemy.records import claim, settled
from tests.worker.eventually import eventually

LEASE = 1.0


class Scene(NamedTuple):
    """A file of tasks, the history of what happens to it, and who launches."""

    engine: Engine
    journal: Journal
    watch: Watch
    store: AlchemyCRUD
    load: Load

    async def checked(self) -> History:
        """All that has happened, in which nothing is that must not be."""
        history = History.of(self.watch.look())
        assert violations(history, await rows_of(self.store)) == []
        return history


@asynccontextmanager
async def scene(folder: Path) -> AsyncIterator[Scene]:
    """One, for the block."""
    engine = ENGINES["sqlite"](folder)
    journal, store, over = Journal(folder), AlchemyCRUD(engine.url), asyncio.Event()
    load = Load(engine.url, journal, random.Random(0), rate=1.0)
    await store.startup()
    await load.startup()
    try:
        yield Scene(engine, journal, Watch(Reader(folder)), store, load)
    finally:
        over.set()
        await load.go_on(over)
        await store.shutdown()


async def test_a_worker_whose_loop_is_blocked_for_four_leases_is_not_robbed(tmp_path: Path) -> None:
    """Nobody rescues its task, though another worker would: it is claimed once, begins once and is settled once."""
    async with scene(tmp_path) as here, asyncio.TaskGroup() as living:
        crew = [Member(here.engine, tmp_path, LEASE, children=False) for _ in range(2)]
        for member in crew:
            living.create_task(member.live())
        for member in crew:
            await member.working.wait()
        await here.load.launch("blocking", 4 * LEASE)

        await eventually(
            lambda: any(isinstance(event, Ended) for event in here.watch.look()), "the body has ended"
        )
        assert len(History.of(here.watch.look()).claims) == 1
        await drained(here.store, within=20)
        await asyncio.gather(*(member.stop() for member in crew))

        history = await here.checked()
        assert (len(history.claims), len(history.bodies)) == (1, 1)
        assert [write.answer for write in history.writes if write.is_of_its_run] == ["accepted"]


async def test_a_settlement_that_nobody_waits_for_any_more_is_written(tmp_path: Path) -> None:
    """Whoever asked is cancelled while somebody keeps the file locked: the outcome is there when the lock is gone."""
    async with scene(tmp_path) as here:
        recording = RecordingCRUD(AlchemyCRUD(here.engine.url), here.journal, Snare(here.journal))
        await recording.startup()
        worker = Store(recording, timeout=timedelta(seconds=3), outage_after=timedelta(seconds=1))
        await here.load.launch("short", 0)
        [task] = (await worker.claim(claim(names=frozenset({"short"})))).tasks
        nonce = "nonce-0123456789abcdef"
        here.journal.write(Began(task=task.id, run=task.run, nonce=nonce))
        here.journal.write(Ended(nonce=nonce, how="returned"))

        def written(kind: type) -> bool:
            return any(isinstance(event, kind) for event in here.watch.look())

        async with gone(here.engine):
            settling = asyncio.create_task(worker.change([settled(task, result=msgspec.json.encode(nonce))]))
            await eventually(lambda: written(Asked), "the write is under way")
            settling.cancel()
            await asyncio.wait([settling])
        await eventually(lambda: written(Answered), "the store has answered", within=5)
        [stored] = await here.store.find_tasks(TaskQuery(ids=frozenset({task.id})))
        await worker.close()

        assert settling.cancelled()
        assert stored.status is TaskStatus.success
        assert [write.answer for write in (await here.checked()).writes] == ["accepted"]
