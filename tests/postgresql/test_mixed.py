"""Everything at once: launch, claim, renew, settle, cancel, reap and delete, by several handles."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from kapusta.backend import Change, Guard, StoredTask, TaskQuery, TaskStatus, UniqueKey
from kapusta_sqlalchemy import AlchemyCRUD
from kapusta_sqlalchemy._dialects._postgresql import PostgreSQL
from kapusta_sqlalchemy._dialects._postgresql._trouble import code_of
from tests.postgresql.statements import watched
from tests.sqlalchemy.records import claim, new, renewal, settled

NAMES = frozenset({"name-0", "name-1", "name-2"})


class _Load:
    """What four workers do to one store at the same time."""

    def __init__(self) -> None:
        self.launched: list[int] = []
        self.settled: Counter[int] = Counter()
        self.cancelled: set[int] = set()
        self.done = False

    async def launch(self, crud: AlchemyCRUD, chance: random.Random) -> None:
        for _ in range(40):
            batch = [
                new(
                    name=f"name-{chance.randrange(3)}",
                    priority=chance.randrange(2),
                    unique=UniqueKey(key=f"key-{chance.randrange(200)}") if chance.random() < 0.1 else None,
                )
                for _ in range(10)
            ]
            self.launched += [
                added.id for added in await crud.add_tasks(batch) if added.outcome.value == "new"
            ]

    async def work(self, crud: AlchemyCRUD, worker: str) -> None:
        while True:
            tasks = list((await crud.claim_tasks(claim(20, worker=worker, names=NAMES))).tasks)
            if not tasks and self.done:
                return
            answers = await crud.renew_leases(renewal(*tasks).replace(worker=worker))
            assert {answer.answer.value for answer in answers} <= {"renewed", "busy"}
            for changed in await crud.change_tasks([settled(task, worker=worker) for task in tasks]):
                assert changed.answer == "accepted"
                self.settled[changed.id] += 1
            await asyncio.sleep(0)

    async def cancel(self, crud: AlchemyCRUD, chance: random.Random) -> None:
        while not self.done:
            query = TaskQuery(statuses=frozenset({TaskStatus.pending}), limit=50)
            found = list(await crud.find_tasks(query))
            some = chance.sample(found, min(3, len(found)))
            for changed in await crud.change_tasks([_cancel(task) for task in some]):
                if changed.answer == "accepted":
                    self.cancelled.add(changed.id)
            await asyncio.sleep(0.005)

    async def keep_house(self, crud: AlchemyCRUD) -> None:
        while not self.done:
            guards = frozenset({Guard.expired, Guard.overdue})
            assert await crud.find_tasks(TaskQuery(guards=guards)) == []
            over = await crud.find_tasks(TaskQuery(statuses=frozenset({TaskStatus.cancelled}), limit=20))
            await crud.delete_tasks([task.id for task in over])
            await asyncio.sleep(0.005)


def _cancel(task: StoredTask) -> Change:
    return Change(id=task.id, run=task.run, guard=Guard.resting, status=TaskStatus.cancelled)


async def test_a_mixed_load_loses_nothing(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of a thousand launches is settled once, by one worker, or cancelled; and there is not one deadlock."""
    handles = [AlchemyCRUD(postgres_url) for _ in range(4)]
    for handle in handles:
        await handle.startup()
    statements, load = watched(monkeypatch), _Load()
    troubles: Counter[str] = Counter()
    trouble = PostgreSQL.trouble

    def counted(dialect: PostgreSQL, error: Exception) -> Any:
        troubles[code_of(error) or type(error).__name__] += 1
        return trouble(dialect, error)

    monkeypatch.setattr(PostgreSQL, "trouble", counted)

    async def launch_all() -> None:
        await asyncio.gather(*(load.launch(handle, random.Random(n)) for n, handle in enumerate(handles)))
        load.done = True

    await asyncio.gather(
        launch_all(),
        *(load.work(handle, f"worker-{n}") for n, handle in enumerate(handles)),
        *(load.cancel(handle, random.Random(10 + n)) for n, handle in enumerate(handles[:2])),
        load.keep_house(handles[2]),
    )

    assert not load.cancelled & set(load.settled)
    assert sorted(load.launched) == sorted([*load.settled, *load.cancelled])
    assert set(load.settled.values()) == {1}
    assert "40P01" not in troubles
    for handle in handles:
        await handle.shutdown()
        assert handle._started is None
    print(
        f"{len(load.launched)} tasks, {len(load.cancelled)} of them cancelled: {len(statements.asked)} statements, "
        f"{statements.hints} hints; repeated: {dict(troubles) or 'none'}"
    )
