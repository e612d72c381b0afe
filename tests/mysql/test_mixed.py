"""Everything at once: launch, claim, renew, settle, cancel, reap and delete, by several handles."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from typing import Any

import pytest

from kapusta.backend import Change, Guard, StoredTask, TaskQuery, TaskStatus, UniqueKey
from kapusta_sqlalchemy import AlchemyCRUD
from kapusta_sqlalchemy._dialects._mysql import MySQL, _session
from tests.sqlalchemy.records import claim, new, renewal, settled

NAMES = frozenset({"name-0", "name-1", "name-2"})


class _Load:
    """What four workers do to one store at the same time."""

    def __init__(self, handles: list[AlchemyCRUD]) -> None:
        self.handles = handles
        self.launched: list[int] = []
        self.settled: Counter[int] = Counter()
        self.cancelled: set[int] = set()
        self.done = 0

    async def launch(self, crud: AlchemyCRUD, chance: random.Random) -> None:
        for _ in range(30):
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

    async def work(self, crud: AlchemyCRUD, worker: str) -> None:
        while True:
            claims = await crud.claim_tasks(claim(20, worker=worker, names=NAMES))
            tasks = list(claims.tasks)
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


class _Counts:
    """What the store's handles did meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.packets = self.statements = 0
        self.troubles: Counter[str] = Counter()
        send, trouble = _session._send, MySQL.trouble

        async def counting_send(driver: Any, packet: bytes) -> list[Any]:
            self.packets += 1
            self.statements += packet.count(b";\n") + 1
            return await send(driver, packet)

        def counting_trouble(dialect: MySQL, error: Exception) -> Any:
            found = trouble(dialect, error)
            if found is not None:
                self.troubles[found.problem] += 1
            return found

        monkeypatch.setattr(_session, "_send", counting_send)
        monkeypatch.setattr(MySQL, "trouble", counting_trouble)


async def test_a_mixed_load_loses_nothing(mysql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of hundreds of launches is settled once by one worker, or cancelled; no operation fails in the end."""
    handles = [AlchemyCRUD(mysql_url) for _ in range(4)]
    for handle in handles:
        await handle.startup()
    counts, load = _Counts(monkeypatch), _Load(handles)

    async def launch_all() -> None:
        await asyncio.gather(*(load.launch(handle, random.Random(n)) for n, handle in enumerate(handles)))
        load.done = 1

    await asyncio.gather(
        launch_all(),
        *(load.work(handle, f"worker-{place}") for place, handle in enumerate(handles)),
        *(load.cancel(handle, random.Random(10 + n)) for n, handle in enumerate(handles[:2])),
        load.keep_house(handles[2]),
    )

    assert not load.cancelled & set(load.settled)
    assert sorted(load.launched) == sorted([*load.settled, *load.cancelled])
    assert set(load.settled.values()) == {1}
    for handle in handles:
        assert handle._started is not None
        assert handle._started.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # a pool that counts
        await handle.shutdown()
    print(
        f"{len(load.launched)} tasks, {len(load.cancelled)} of them cancelled: {counts.statements} statements in "
        f"{counts.packets} packets; repeated: {dict(counts.troubles) or 'none'}"
    )
