"""Noticing other processes' commits."""
# ruff: noqa: ASYNC240 - nothing else runs on the loop of a test

from __future__ import annotations

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kapusta.backend import Change, Guard, StoredTask, WakeKind
from kapusta_sqlalchemy import AlchemyCRUD
from kapusta_sqlalchemy._dialects._sqlite._watching import PERIOD
from tests.sqlalchemy.records import claim, new, renewal


class _Ear:
    """Counts what it hears."""

    def __init__(self) -> None:
        self.heard: Counter[WakeKind] = Counter()
        self._news = asyncio.Event()

    def wake(self, kind: WakeKind) -> None:
        self.heard[kind] += 1
        self._news.set()

    async def hears(self, kind: WakeKind, times: int = 1) -> None:
        async with asyncio.timeout(5):
            while self.heard[kind] < times:
                self._news.clear()
                await self._news.wait()


@pytest.fixture
async def ear(store: AlchemyCRUD) -> AsyncIterator[_Ear]:
    """An ear of `store` that has heard of what was there before."""
    ear = _Ear()
    async with store.listen(ear.wake):
        await ear.hears("settled")
        yield ear


async def test_a_silent_store_wakes_nobody(store: AlchemyCRUD, other: AlchemyCRUD, ear: _Ear) -> None:
    """Looking, claiming nothing and finding wake nobody: idle processes do not keep each other busy."""
    before = Counter(ear.heard)

    for _ in range(6):
        await other.claim_tasks(claim())
        await store.claim_tasks(claim())
        await asyncio.sleep(PERIOD)

    assert ear.heard == before


async def test_one_commit_wakes_once(other: AlchemyCRUD, ear: _Ear) -> None:
    """A batch of a hundred tasks is one wake-up."""
    before = ear.heard["work"]

    await other.add_tasks([new() for _ in range(100)])
    await ear.hears("work", before + 1)
    await asyncio.sleep(3 * PERIOD)

    assert ear.heard["work"] == before + 1


async def test_a_request_to_cancel_is_told_of_once(store: AlchemyCRUD, other: AlchemyCRUD, ear: _Ear) -> None:
    """Renewals while a task is being stopped tell nobody `cancel` again, or two keepers would renew for ever."""
    await store.add_tasks([new()])
    [task] = (await store.claim_tasks(claim())).tasks
    await other.change_tasks([_cancel(task)])
    await ear.hears("cancel")

    for _ in range(3):
        work = ear.heard["work"]
        await other.renew_leases(renewal(task))
        await ear.hears("work", work + 1)

    assert ear.heard["cancel"] == 1


def _cancel(task: StoredTask) -> Change:
    return Change(id=task.id, run=task.run, guard=Guard.running, cancel_requested=True)


@pytest.mark.skipif(os.name != "posix", reason="elsewhere an open file cannot be deleted")
async def test_a_replaced_file_is_watched_on(store: AlchemyCRUD, ear: _Ear, path: Path, url: str) -> None:
    """When the file is deleted and made anew, what happens in the new one is noticed."""
    before = ear.heard["work"]
    for leftover in path.parent.glob("tasks.db*"):
        leftover.unlink()
    anew = AlchemyCRUD(url)
    await anew.startup()
    await ear.hears("work", before + 1)

    for _ in range(10):  # more than the start itself can be heard
        before = ear.heard["work"]
        await anew.add_tasks([new()])
        await ear.hears("work", before + 1)

    await anew.shutdown()


async def test_a_file_that_is_no_database_any_more_ends_nothing(
    store: AlchemyCRUD, ear: _Ear, path: Path
) -> None:
    """An unreadable file is looked at again and again; the listener lives until it is left."""
    path.rename(path.with_suffix(".away"))
    path.write_bytes(b"no database" * 100)
    await asyncio.sleep(3 * PERIOD)
    path.unlink()
    path.with_suffix(".away").rename(path)
    await asyncio.sleep(3 * PERIOD)
    before = ear.heard["work"]

    await store.add_tasks([new()])

    await ear.hears("work", before + 1)
