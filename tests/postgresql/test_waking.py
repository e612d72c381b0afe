"""Being told of other handles' writes, at once, and again after a connection was lost."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from time import perf_counter

import asyncpg
import pytest

from kapusta.backend import StoreUnavailableError, WakeKind
from kapusta_sqlalchemy import AlchemyCRUD
from kapusta_sqlalchemy._dialects._postgresql import _listening
from tests.postgresql.asking import OTHERS, answered
from tests.sqlalchemy.records import new

_LISTENS = "query LIKE 'LISTEN%'"


class _Ear:
    """Counts what it hears."""

    def __init__(self) -> None:
        self.heard: Counter[WakeKind] = Counter()
        self._news = asyncio.Event()

    def wake(self, kind: WakeKind) -> None:
        self.heard[kind] += 1
        self._news.set()

    async def hears(self, kind: WakeKind, times: int = 1) -> None:
        async with asyncio.timeout(10):
            while self.heard[kind] < times:
                self._news.clear()
                await self._news.wait()


@asynccontextmanager
async def _listening_on(store: AlchemyCRUD) -> AsyncIterator[_Ear]:
    ear = _Ear()
    async with store.listen(ear.wake):
        yield ear


async def _listeners(admin: asyncpg.Connection) -> list[int]:
    rows = await admin.fetch(f"SELECT pid FROM pg_stat_activity WHERE {OTHERS} AND {_LISTENS}")
    return [pid for (pid,) in rows]


async def test_a_launch_is_heard_of_within_a_tenth_of_a_second(
    store: AlchemyCRUD, other: AlchemyCRUD
) -> None:
    """From the launch in one handle to the wake-up in another, at the median of twenty."""
    times = []
    async with _listening_on(store) as ear:
        for turn in range(20):
            begun = perf_counter()
            await other.add_tasks([new()])
            await ear.hears("work", turn + 1)
            times.append(perf_counter() - begun)
            await asyncio.sleep(0.015)  # beyond the pause after which hints are gathered

    assert sorted(times)[10] < 0.1


async def test_the_last_launch_before_a_shutdown_is_heard_of(store: AlchemyCRUD, postgres_url: str) -> None:
    """A program that launches and ends has told its worker."""
    brief = AlchemyCRUD(postgres_url)
    await brief.startup()
    async with _listening_on(store) as ear:
        await brief.add_tasks([new()])
        await brief.add_tasks([new()])
        await brief.shutdown()

        await ear.hears("work")


async def test_a_killed_listener_listens_again(
    store: AlchemyCRUD, other: AlchemyCRUD, admin: asyncpg.Connection
) -> None:
    """When the server ends the connection another takes its place, wakes for what may have been missed, and hears."""
    async with _listening_on(store) as ear:
        [first] = await _listeners(admin)
        await admin.execute("SELECT pg_terminate_backend($1)", first)

        await ear.hears("work")
        await ear.hears("cancel")
        await ear.hears("settled")
        heard = ear.heard["work"]
        await other.add_tasks([new()])
        await ear.hears("work", heard + 1)

        [second] = await _listeners(admin)
        assert second != first


async def test_a_connection_that_hears_nothing_is_replaced(
    store: AlchemyCRUD,
    other: AlchemyCRUD,
    admin: asyncpg.Connection,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A socket that is open and dead, as behind a pooler or after a change of networks, is found out by asking."""
    monkeypatch.setattr(_listening, "PERIOD", 0.05)
    monkeypatch.setattr(_listening, "PATIENCE", 0.2)
    connect = asyncpg.Connection.add_listener
    deaf: list[asyncpg.Connection] = []

    async def add_deaf_listener(self: asyncpg.Connection, channel: str, callback: object) -> None:
        await connect(self, channel, callback)
        if not deaf:
            deaf.append(self)
            await self.execute("UNLISTEN *")

    monkeypatch.setattr(asyncpg.Connection, "add_listener", add_deaf_listener)
    with caplog.at_level(logging.WARNING):
        async with _listening_on(store) as ear:
            await ear.hears("work")
            heard = ear.heard["work"]
            await other.add_tasks([new()])
            await ear.hears("work", heard + 1)

    assert "hears nothing any more" in caplog.text
    assert deaf[0].is_closed()


async def test_a_healthy_listener_is_asked_and_kept(
    store: AlchemyCRUD, admin: asyncpg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The question whether it still hears is answered, wakes nobody, and costs no connection."""
    asked = asyncio.Event()
    original = _listening._Ear.still_hears

    async def still_hears(self: _listening._Ear) -> None:
        await original(self)
        asked.set()

    monkeypatch.setattr(_listening, "PERIOD", 0.02)
    monkeypatch.setattr(_listening._Ear, "still_hears", still_hears)
    async with _listening_on(store) as ear:
        for _ in range(3):
            asked.clear()
            async with asyncio.timeout(5):
                await asked.wait()

    assert not ear.heard


async def test_a_server_that_ends_every_listener_is_not_stormed(
    store: AlchemyCRUD, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where each connection is lost as soon as it listens, the next is opened after a pause, each longer than the last."""
    opened: list[float] = []
    open_ear, fourth = _listening._Ear.open, asyncio.Event()

    async def open_and_note(self: _listening._Ear) -> None:
        await open_ear(self)
        self._lost.set()
        opened.append(perf_counter())
        if len(opened) == 4:
            fourth.set()

    monkeypatch.setattr(_listening._Ear, "open", open_and_note)
    async with _listening_on(store), asyncio.timeout(10):
        await fourth.wait()

    pauses = [after - before for before, after in pairwise(opened)]
    assert [pause >= least for pause, least in zip(pauses, (0.05, 0.1, 0.2), strict=True)] == [True] * 3


async def test_whoever_leaves_takes_the_connection_along(
    store: AlchemyCRUD, admin: asyncpg.Connection
) -> None:
    """After `listen` was left, at once or in the middle of a reconnection, nobody listens."""
    async with _listening_on(store):
        pass
    async with _listening_on(store):
        [pid] = await _listeners(admin)
        await admin.execute("SELECT pg_terminate_backend($1)", pid)
        await asyncio.sleep(0)

    await answered(admin, f"SELECT count(*) = 0 FROM pg_stat_activity WHERE {OTHERS} AND {_LISTENS}")
    assert store._started is not None
    assert store._started.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # a pool that counts


async def test_listening_without_a_server_says_so(
    store: AlchemyCRUD, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If there is no connection to begin with, `listen` raises, and its caller may try again."""

    async def refused(*_: object, **__: object) -> None:
        raise ConnectionRefusedError("nobody is there")

    assert store._started is not None
    await store._started.engine.dispose()
    monkeypatch.setattr(asyncpg, "connect", refused)

    with pytest.raises(StoreUnavailableError, match=r"listen: .*nobody is there"):
        async with _listening_on(store):
            pass


async def test_two_stores_in_one_database_do_not_wake_each_other(
    store: AlchemyCRUD, postgres_url: str
) -> None:
    """Another prefix is another store, and another channel."""
    stranger = AlchemyCRUD(postgres_url, table_prefix="other_")
    await stranger.startup()
    async with _listening_on(store) as ear:
        await stranger.add_tasks([new()])
        await stranger.shutdown()
        await store.add_tasks([new()])

        await ear.hears("work")
        assert ear.heard == {"work": 1}


async def test_a_launch_that_is_repeated_after_a_lost_reply_is_heard_of(
    store: AlchemyCRUD, other: AlchemyCRUD
) -> None:
    """The first write may have been stored without its hint: the repeat tells of it."""
    task = new()
    async with _listening_on(other) as ear:
        await store.add_tasks([task])
        await ear.hears("work")

        await store.add_tasks([task])

        await ear.hears("work", 2)
