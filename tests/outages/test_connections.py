"""Connections that were lost while nobody used them, and connections that only seem to be there."""

from __future__ import annotations

import asyncio

import pytest
from sqlalchemy import Connection
from sqlalchemy.ext.asyncio import create_async_engine

from kapusta.backend import StoreUnavailableError, TaskQuery
from kapusta_sqlalchemy import AlchemyCRUD
from kapusta_sqlalchemy._tables import Tables
from tests.outages.conftest import Network, OpenStore
from tests.sqlalchemy.records import claim, new, renewal, settled
from tests.worker.eventually import eventually


async def test_after_all_connections_were_dropped_the_next_call_of_each_kind_works(
    network: Network, open_store: OpenStore
) -> None:
    """A server that was restarted, or ended idle connections, costs no call: each is repeated on a new one."""
    store = await open_store(network.url)
    await asyncio.gather(*[store.add_tasks([new()]) for _ in range(8)])

    await _drop(network)
    await store.add_tasks([new()])
    await _drop(network)
    tasks = (await store.claim_tasks(claim())).tasks
    await _drop(network)
    [renewed, *_] = await store.renew_leases(renewal(*tasks))
    await _drop(network)
    [settlement] = await store.change_tasks([settled(tasks[0])])
    await _drop(network)
    found = await store.find_tasks(TaskQuery(limit=100))

    assert (len(tasks), renewed.answer.value, settlement.answer.value, len(found)) == (
        9,
        "renewed",
        "accepted",
        9,
    )


async def test_a_pool_of_dead_connections_costs_one_call(network: Network, open_store: OpenStore) -> None:
    """A firewall has forgotten all idle connections, and nobody says so: after the first has failed, none is trusted."""
    store = await open_store(network.url)
    await asyncio.gather(*[store.add_tasks([new()]) for _ in range(8)])
    assert network.proxy.open > 1, "there is a pool"

    network.proxy.strand()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):  # what core does when its deadline has come
            await store.find_tasks(TaskQuery())
    for _ in range(8):
        async with asyncio.timeout(5):
            await store.add_tasks([new()])
    await network.proxy.drop()  # else the teardown waits for goodbyes that cannot come


async def test_a_server_that_accepts_and_says_nothing_holds_up_no_startup(network: Network) -> None:
    """A black hole in front of the server is named within ten seconds, whatever the driver would wait for."""
    store = AlchemyCRUD(network.url)
    network.proxy.hold()

    async with asyncio.timeout(10):
        with pytest.raises(StoreUnavailableError, match="The store did not carry out startup"):
            await store.startup()


async def test_a_server_that_falls_silent_during_startup_holds_it_up_for_ten_seconds(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Connected, and then silence: the questions of a startup have a deadline too."""
    from kapusta_sqlalchemy import _crud
    from kapusta_sqlalchemy._dialects._postgresql import _checkouts

    monkeypatch.setattr(_crud, "STARTUP_SECONDS", 0.5)
    monkeypatch.setattr(_checkouts, "_CONNECT_SECONDS", 1.0)  # a connection in the making is seen through
    store = AlchemyCRUD(network.url)
    starting = asyncio.create_task(store.startup())
    async with asyncio.timeout(8):
        while not network.proxy.delivered:  # noqa: ASYNC110 - at once: a moment later the store may be made
            await asyncio.sleep(0)
    network.proxy.hold()

    async with asyncio.timeout(8):
        with pytest.raises(
            StoreUnavailableError, match=r"no answer within|does not answer|TimeoutError"
        ) as given_up:
            await starting

    assert str(given_up.value).count("The store did not carry out startup") == 1


async def test_a_server_that_falls_silent_while_the_store_is_made_is_given_up(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of it, with the lock of migrations in its hand; the next one makes what is missing."""
    from kapusta_sqlalchemy import _migrate

    make = _migrate._create

    def into_silence(connection: Connection, tables: Tables) -> None:
        network.proxy.hold()
        make(connection, tables)

    monkeypatch.setattr(_migrate, "_create", into_silence)
    monkeypatch.setattr(_migrate, "CREATION_SECONDS", 1.0)
    store = AlchemyCRUD(network.url)
    async with asyncio.timeout(8):
        with pytest.raises(StoreUnavailableError, match="no answer within 1 s"):
            await store.startup()
    await network.proxy.drop()
    network.proxy.flow()
    monkeypatch.undo()

    await store.startup()
    await store.add_tasks([new()])
    await store.shutdown()


async def test_a_call_that_is_given_up_while_it_connects_is_given_up_soon(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through an engine whose driver waits for ever, too, it is left alone, and does no harm when it is through."""
    from kapusta_sqlalchemy._dialects import OPENING_SECONDS
    from kapusta_sqlalchemy._dialects._mysql import _checkouts as of_mysql
    from kapusta_sqlalchemy._dialects._postgresql import _checkouts as of_postgresql

    for checkouts in (of_mysql, of_postgresql):
        monkeypatch.setattr(checkouts, "OPENING_SECONDS", OPENING_SECONDS / 10)
    engine = create_async_engine(network.url)
    store = AlchemyCRUD(engine)
    await store.startup()
    await engine.dispose()
    network.proxy.hold()

    call = asyncio.create_task(store.find_tasks(TaskQuery()))
    await eventually(lambda: network.proxy.open, "it connects")
    call.cancel()
    done, _ = await asyncio.wait([call], timeout=OPENING_SECONDS * 0.8)
    network.proxy.flow()

    assert done, "it still waits for a connection"
    assert await store.find_tasks(TaskQuery()) == []
    await store.shutdown()
    await engine.dispose()


async def _drop(network: Network) -> None:
    """Drop all connections, and give the event loop the turns that it needs to hear of it."""
    await network.proxy.drop()
    for _ in range(10):
        await asyncio.sleep(0)
