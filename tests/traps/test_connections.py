"""Connections and transactions: what stays open, whose they are, and who may use them."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from kapusta_sqlalchemy import AlchemyCRUD
from tests.worker.conftest import MakeKapusta
from tests.worker.eventually import eventually
from tests.worker.stored import stored

LEASE = timedelta(seconds=3)
OPEN_TRANSACTIONS = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid() AND xact_start IS NOT NULL",
    "mysql": "SELECT count(*) FROM information_schema.innodb_trx WHERE trx_mysql_thread_id <> connection_id()",
}
CONNECTIONS = {
    "postgresql": "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
    "mysql": "SELECT count(*) FROM information_schema.processlist WHERE db = database() AND id <> connection_id()",
}


@pytest.fixture(params=["postgresql", "mysql"])
def url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database on a server."""
    found: str = request.getfixturevalue("postgres_url" if request.param == "postgresql" else "mysql_url")
    return found


@pytest.fixture
def uncollected() -> Iterator[None]:
    """For the test nothing is closed merely because nobody refers to it any more."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
async def admin(url: str) -> AsyncIterator[AsyncConnection]:
    """A connection of somebody who looks on."""
    engine = create_async_engine(url, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        yield connection
    await engine.dispose()


async def count(admin: AsyncConnection, of: dict[str, str]) -> int:
    """How many there are."""
    kind = "postgresql" if admin.dialect.name == "postgresql" else "mysql"
    return int((await admin.execute(text(of[kind]))).scalar_one())


async def test_no_transaction_is_open_while_a_body_runs(
    url: str, admin: AsyncConnection, make_kapusta: MakeKapusta
) -> None:
    """A worker that claims, renews and waits holds no transaction meanwhile: the database may clean up, and migrate."""
    kapusta = make_kapusta(AlchemyCRUD(url), lease=LEASE)
    go_on = asyncio.Event()

    @kapusta.task()
    async def wait() -> None:
        await go_on.wait()

    await kapusta.startup()
    handle = await wait.launch()

    async def has_been_renewed() -> bool:
        task = await stored(kapusta, handle)
        return None not in (task.lease_end, task.started) and task.lease_end - task.started > 1.2 * LEASE

    await eventually(has_been_renewed, "its lease was renewed")
    open_at_each_look = [await count(admin, OPEN_TRANSACTIONS) for _ in range(20)]
    go_on.set()
    await handle.result(timeout=20)

    # One that is open for a millisecond may be met; one that stays is met at each look.
    assert 0 in open_at_each_look


async def test_a_worker_takes_all_its_connections_along(
    url: str, admin: AsyncConnection, make_kapusta: MakeKapusta, uncollected: None
) -> None:
    """After bodies of every mode and a shutdown, the server has no connection left of it: none per thread, none per life."""
    kapusta = make_kapusta(AlchemyCRUD(url), max_threads=4)
    in_a_thread = kapusta.register_task(lambda: None, "thread", name="in a thread")
    in_place = kapusta.register_task(lambda: None, name="in place")

    for _ in range(3):
        async with kapusta:
            handles = [*await in_a_thread.launch_many({} for _ in range(8)), await in_place.launch()]
            for handle in handles:
                await handle.result(timeout=20)
            assert await count(admin, CONNECTIONS) <= 11  # as documented: two handles, and one that listens

    async def all_are_gone() -> bool:
        return await count(admin, CONNECTIONS) == 0

    await eventually(all_are_gone, "the server has seen them go")
