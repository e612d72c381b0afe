"""Everything at once: launch, claim, renew, settle, cancel, rescue and delete, by four handles to one store."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta

from kapusta.backend import Change, Guard, StoredTask, TaskQuery, TaskStatus, UniqueKey
from kapusta_sqlalchemy import AlchemyCRUD
from tests.sqlalchemy.records import claim, new, renewal, settled

NAMES = frozenset({"name-0", "name-1", "name-2"})
BATCHES = 30
AT_ONCE = timedelta(milliseconds=1)
"""A lease that its worker never renews: it is rescued."""


class MixedLoad:
    """What four workers do to one store at the same time, and what has become of each task.

    Attributes:
        launched: the ids that were new.
        settled: how often each was settled.
        cancelled: those that were cancelled before they were claimed.
        rescued: how many leases were found expired, and their tasks put back.
    """

    def __init__(self, handles: Sequence[AlchemyCRUD]) -> None:
        self._handles = handles
        self.launched: list[int] = []
        self.settled: Counter[int] = Counter()
        self.cancelled: set[int] = set()
        self.rescued = 0
        self._launching = True

    async def run(self) -> None:
        """Do it all, and check that each task was settled once or cancelled."""
        await asyncio.gather(
            self._launch_all(),
            *(self._work(handle, f"worker-{place}") for place, handle in enumerate(self._handles)),
            *(self._cancel(handle, random.Random(10 + n)) for n, handle in enumerate(self._handles[:2])),
            self._keep_house(self._handles[2]),
        )
        assert not self.cancelled & set(self.settled)
        assert sorted(self.launched) == sorted([*self.settled, *self.cancelled])
        assert set(self.settled.values()) == {1}
        assert self.rescued > 0

    def __str__(self) -> str:
        return f"{len(self.launched)} tasks, {len(self.cancelled)} of them cancelled, {self.rescued} leases rescued"

    async def _launch_all(self) -> None:
        await asyncio.gather(
            *(self._launch(handle, random.Random(place)) for place, handle in enumerate(self._handles))
        )
        self._launching = False

    async def _launch(self, crud: AlchemyCRUD, chance: random.Random) -> None:
        for _ in range(BATCHES):
            batch = [
                new(
                    name=f"name-{chance.randrange(3)}",
                    priority=chance.randrange(2),
                    unique=UniqueKey(key=f"key-{chance.randrange(200)}") if chance.random() < 0.2 else None,
                )
                for _ in range(10)
            ]
            answers = await crud.add_tasks(batch)
            self.launched += [added.id for added in answers if added.outcome.value == "new"]

    async def _work(self, crud: AlchemyCRUD, worker: str) -> None:
        while self._launching or not self._is_over():
            if self._launching:
                await crud.claim_tasks(claim(1, worker=f"{worker}, which dies", names=NAMES, lease=AT_ONCE))
            tasks = list((await crud.claim_tasks(claim(20, worker=worker, names=NAMES))).tasks)
            answers = await crud.renew_leases(renewal(*tasks).replace(worker=worker))
            assert {answer.answer.value for answer in answers} <= {"renewed", "busy"}
            for changed in await crud.change_tasks([settled(task, worker=worker) for task in tasks]):
                assert changed.answer == "accepted"
                self.settled[changed.id] += 1
            await asyncio.sleep(0 if tasks else 0.005)

    def _is_over(self) -> bool:
        return len(self.settled) + len(self.cancelled) == len(self.launched)

    async def _cancel(self, crud: AlchemyCRUD, chance: random.Random) -> None:
        while self._launching:
            query = TaskQuery(statuses=frozenset({TaskStatus.pending}), limit=50)
            found = list(await crud.find_tasks(query))
            some = chance.sample(found, min(3, len(found)))
            for changed in await crud.change_tasks([_cancel(task) for task in some]):
                if changed.answer == "accepted":
                    self.cancelled.add(changed.id)
            await asyncio.sleep(0.005)

    async def _keep_house(self, crud: AlchemyCRUD) -> None:
        while self._launching or not self._is_over():
            expired = await crud.find_tasks(TaskQuery(guards=frozenset({Guard.expired, Guard.overdue})))
            answers = await crud.change_tasks([_rescue(task) for task in expired])
            self.rescued += sum(changed.answer == "accepted" for changed in answers)
            over = await crud.find_tasks(TaskQuery(statuses=frozenset({TaskStatus.cancelled}), limit=20))
            await crud.delete_tasks([task.id for task in over])
            await asyncio.sleep(0.005)


def _cancel(task: StoredTask) -> Change:
    return Change(id=task.id, run=task.run, guard=Guard.resting, status=TaskStatus.cancelled)


def _rescue(task: StoredTask) -> Change:
    return Change(id=task.id, run=task.run, guard=Guard.expired, status=TaskStatus.pending)
