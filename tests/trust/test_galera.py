"""Three nodes of a Galera cluster, each of which takes writes, and notices only at the commit who was first."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from kapusta.backend import StoreUnavailableError, TaskQuery
from kapusta.testing import Proxy
from kapusta_sqlalchemy import AlchemyCRUD
from tests.servers.galera import Cluster
from tests.servers.mariadb import ask
from tests.sqlalchemy.records import claim, new, settled
from tests.trust.trial import HALF, Trial
from tests.worker.eventually import eventually

ROUNDS = 50
"""How often the nodes' workers are let loose on some tasks."""
STORES = 4
"""How many empty databases the migration is tried on."""


async def test_processes_that_start_at_once_on_different_nodes_make_one_store(galera: Cluster) -> None:
    """A lock is one node's there: all the same there is one store, with its tables whole, and nobody's startup fails."""
    for number in range(STORES):
        name = f"kapusta_race_{number}"
        ask(galera.nodes[0].address, f"CREATE DATABASE {name}")
        await eventually(
            lambda name=name: all(  # type: ignore[misc]  # of this turn
                ask(node.address, f"SHOW DATABASES LIKE '{name}'") for node in galera.nodes
            ),
            "each node has the database",
        )
        stores = [AlchemyCRUD(galera.url_of(turn % 3, name)) for turn in range(6)]

        results = await asyncio.gather(*(store.startup() for store in stores), return_exceptions=True)
        for store in stores:
            await store.shutdown()

        assert results == [None] * 6
        identities = ask(galera.nodes[1].address, f"SELECT COUNT(*) FROM {name}.kapusta_store")
        versions = ask(galera.nodes[1].address, f"SELECT COUNT(*) FROM {name}.kapusta_alembic_version")
        assert (identities, versions) == ([(1,)], [(1,)])
        ask(galera.nodes[0].address, f"DROP DATABASE {name}")


async def test_what_was_done_at_one_node_is_seen_at_another(galera: Cluster, database: str) -> None:
    """Right after its answer, a launch is there to be claimed, and an outcome to be read, at each other node."""
    stores = [AlchemyCRUD(galera.url_of(node, database)) for node in (1, 2)]
    for store in stores:
        await store.startup()
    here, there = stores
    for _ in range(100):
        task = new()
        await here.add_tasks([task])
        [claimed] = (await there.claim_tasks(claim())).tasks
        [changed] = await here.change_tasks([settled(claimed)])
        [found] = await there.find_tasks(TaskQuery(ids=frozenset({task.id})))

        assert (claimed.id, changed.answer, found.status) == (task.id, "accepted", "success")
    for store in stores:
        await store.shutdown()


async def test_nodes_that_want_the_same_rows_at_once_give_each_to_one(galera: Cluster, database: str) -> None:
    """Whoever is told that it has claimed a task has it, whatever another node did between two statements."""
    stores = [AlchemyCRUD(galera.url_of(turn % 3, database)) for turn in range(6)]
    for store in stores:
        await store.startup()
    before = galera.conflicts()
    claimed: list[tuple[int, int]] = []
    left: set[int] = set()

    async def work(store: AlchemyCRUD, worker: str) -> None:
        while left:
            for task in (await store.claim_tasks(claim(of_each=3, worker=worker))).tasks:
                claimed.append((task.id, task.run))
                [changed] = await store.change_tasks([settled(task, worker=worker)])
                assert changed.answer == "accepted"
                left.discard(task.id)

    for _ in range(ROUNDS):
        tasks = [new() for _ in range(30)]
        left |= {task.id for task in tasks}
        await stores[0].add_tasks(tasks)
        async with asyncio.timeout(30), asyncio.TaskGroup() as group:
            for turn, store in enumerate(stores):
                group.create_task(work(store, f"worker {turn}"))
    conflicts = galera.conflicts() - before
    for store in stores:
        await store.shutdown()

    assert sorted(claimed) == sorted({(id, 1) for id, _ in claimed})
    assert len(claimed) == 30 * ROUNDS
    assert conflicts > ROUNDS


async def test_an_engine_of_the_users_waits_for_other_nodes_only_for_us(
    galera: Cluster, database: str
) -> None:
    """Its sessions are lent: they see what other nodes have done while they are ours, and are then as they were."""
    engine = create_async_engine(galera.url_of(1, database), pool_size=1, max_overflow=0)
    store, other = AlchemyCRUD(engine), AlchemyCRUD(galera.url_of(2, database))
    await store.startup()
    await other.startup()
    for _ in range(20):
        task = new()
        await other.add_tasks([task])
        [found] = await store.find_tasks(TaskQuery(ids=frozenset({task.id})))
        assert found.status == "pending"
    async with engine.connect() as connection:
        waits = await connection.scalar(text("SELECT @@wsrep_sync_wait"))
    await store.shutdown()
    await other.shutdown()
    await engine.dispose()

    assert waits == 0


async def test_a_node_without_its_cluster_is_out_of_reach_until_it_is_back(
    galera: Cluster, database: str
) -> None:
    """Cut off from the majority it answers, and does nothing: that is an outage, and no error of ours."""
    store = AlchemyCRUD(galera.url_of(2, database))
    await store.startup()
    isolate = "SET GLOBAL wsrep_provider_options = 'gmcast.isolate={}'"
    ask(galera.nodes[2].address, isolate.format(1))
    try:
        await eventually(lambda: not galera.nodes[2].takes_part(), "it has noticed", within=30)
        with pytest.raises(StoreUnavailableError, match="WSREP"):
            await store.add_tasks([new()])
    finally:
        ask(galera.nodes[2].address, isolate.format(0))
    await eventually(galera.nodes[2].takes_part, "it is back", within=60)

    [added] = await store.add_tasks([new()])
    await store.shutdown()

    assert added.outcome == "new"


async def test_a_load_on_three_nodes_loses_and_doubles_nothing_though_one_of_them_dies(
    galera: Cluster, database: str, tmp_path: Path
) -> None:
    """Workers on different nodes want the same rows, and are told so at their commits; then a node dies under its worker."""
    trial = Trial(tmp_path)
    first, second, third = (galera.url_of(node, database) for node in range(3))
    address = galera.nodes[0].address
    before = galera.conflicts()
    async with Proxy(address.host or "", galera.nodes[0].port) as proxy:
        moving = make_url(first).set(port=proxy.port).render_as_string(hide_password=False)
        async with trial.under_load([moving, second, third], moving):
            await trial.acknowledged(HALF)
            met = await eventually(
                lambda: galera.conflicts() - before, "two nodes have wanted the same row", within=30
            )
            galera.nodes[0].kill()
            proxy.target = "127.0.0.1", galera.nodes[1].port
            await proxy.drop()
            await trial.acknowledged(HALF)

    print(f"{trial.figures()}; {met} conflicts until the node died")
    assert not trial.violations(), trial.log()[-4000:]
