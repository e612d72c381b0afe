"""A transaction belongs to a store by the store's own id: whatever else looks like it is another one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from kapusta import Kapusta, TaskFailedError, TransactionError
from kapusta.backend import StoredTask, TaskQuery
from kapusta_sqlalchemy import AlchemyCRUD
from tests.servers.mariadb import ask
from tests.servers.postgresql import administer
from tests.transactions.conftest import KINDS, beginning, blocking

OTHER = "kapusta_elsewhere"
"""The name of another database, or of another schema in the same one."""


@pytest.fixture
def elsewhere_url(url: str, tmp_path: Path) -> Iterator[str]:
    """Another database of the same server, or another file beside the first; empty."""
    here = make_url(url)
    kind = here.get_backend_name()
    if kind == "sqlite":
        yield f"sqlite+aiosqlite:///{tmp_path / 'elsewhere.db'}"
    elif kind == "postgresql":
        administer(here, lambda admin: admin.execute(f"CREATE DATABASE {OTHER} TEMPLATE template0"))
        yield here.set(database=OTHER).render_as_string(hide_password=False)
        administer(here, lambda admin: admin.execute(f"DROP DATABASE {OTHER} WITH (FORCE)"))
    else:
        ask(here, f"CREATE DATABASE {OTHER}")
        yield here.set(database=OTHER).render_as_string(hide_password=False)
        ask(here, f"DROP DATABASE {OTHER}")


@pytest.fixture
async def elsewhere(elsewhere_url: str) -> AsyncIterator[Kapusta]:
    """Another Kapusta with a store of its own, of the same name, in another place."""
    kapusta = Kapusta(AlchemyCRUD(elsewhere_url))
    await kapusta.crud.startup()
    yield kapusta
    await kapusta.shutdown()


@pytest.fixture
async def neighbour(url: str, request: pytest.FixtureRequest) -> AsyncIterator[Kapusta]:
    """Another Kapusta whose store a connection to the first one's can move to."""
    if make_url(url).get_backend_name() == "postgresql":
        kapusta = Kapusta(AlchemyCRUD(url, schema=OTHER))
    else:
        kapusta = Kapusta(AlchemyCRUD(request.getfixturevalue("elsewhere_url")))
    await kapusta.crud.startup()
    yield kapusta
    await kapusta.shutdown()


async def tasks_of(kapusta: Kapusta) -> Sequence[StoredTask]:
    """All that is in its store."""
    found: Sequence[StoredTask] = await kapusta.crud.find_tasks(TaskQuery())
    return found


@pytest.mark.parametrize("kind", KINDS)
async def test_a_launch_in_another_database_is_refused(
    kapusta: Kapusta, elsewhere: Kapusta, elsewhere_url: str, kind: str
) -> None:
    """It has a store, too, under the same name and on the same server; neither of them gets anything."""
    task = kapusta.register_task(lambda: 42, name="ship")
    await kapusta.crud.startup()
    engine, blocks = create_async_engine(elsewhere_url), create_engine(blocking(elsewhere_url))

    async with beginning(kind, engine, blocks)() as transaction:
        with pytest.raises(TransactionError, match="holds another store"):
            await task.with_options(transaction=transaction).launch()
    await engine.dispose()
    blocks.dispose()

    assert [*await tasks_of(kapusta), *await tasks_of(elsewhere)] == []


async def test_an_outcome_in_another_database_is_refused(
    kapusta: Kapusta, elsewhere: Kapusta, elsewhere_url: str
) -> None:
    """Its work may be there; its task is not."""
    engine = create_async_engine(elsewhere_url)

    async def book() -> None:
        async with engine.begin() as connection:
            await kapusta.finish_within(connection)

    task = kapusta.register_task(book, name="book")
    await kapusta.startup()

    with pytest.raises(TaskFailedError, match="holds another store"):
        await (await task.launch()).result(timeout=20)
    await engine.dispose()

    assert list(await tasks_of(elsewhere)) == []


async def check_that_each_has_its_own(engine: AsyncEngine, *stores: AlchemyCRUD) -> None:
    """Launch one task for each store in one transaction, and see that it is there and nowhere else."""
    kapustas = [Kapusta(store) for store in stores]
    tasks = [kapusta.register_task(lambda: 42, name="ship") for kapusta in kapustas]
    for kapusta in kapustas:
        await kapusta.crud.startup()

    async with engine.begin() as connection:
        handles = [await task.with_options(transaction=connection).launch() for task in tasks]

    found = [[each.id for each in await tasks_of(kapusta)] for kapusta in kapustas]
    for kapusta in kapustas:
        await kapusta.shutdown()
    assert found == [[handle] for handle in handles]


async def test_another_prefix_in_the_same_database_is_another_store(url: str, engine: AsyncEngine) -> None:
    """One transaction may launch for both: each launch goes to its own Kapusta's tables."""
    await check_that_each_has_its_own(engine, AlchemyCRUD(url), AlchemyCRUD(url, table_prefix="other_"))


@pytest.mark.parametrize("url", ["postgresql"], indirect=True)  # elsewhere a schema is a database
async def test_another_schema_in_the_same_database_is_another_store(url: str, engine: AsyncEngine) -> None:
    """Likewise where the tables differ by their schema alone."""
    await check_that_each_has_its_own(engine, AlchemyCRUD(url), AlchemyCRUD(url, schema=OTHER))


MOVE: dict[str, Any] = {"postgresql": f"SET search_path TO {OTHER}", "mysql": f"USE {OTHER}"}
"""After this the same names mean other tables."""


@pytest.mark.parametrize("url", ["postgresql", "mysql"], indirect=True)  # SQLite's names stay where they are
@pytest.mark.parametrize("known", [True, False])
async def test_a_connection_that_has_moved_to_another_store_is_refused(
    kapusta: Kapusta, neighbour: Kapusta, engine: AsyncEngine, known: bool
) -> None:
    """The names of the tables mean what the connection makes of them, be it one that was used here before."""
    kind = "postgresql" if engine.dialect.name == "postgresql" else "mysql"
    task = kapusta.register_task(lambda: 42, name="ship")
    await kapusta.crud.startup()

    async with engine.connect() as connection:
        if known:
            await task.with_options(transaction=connection).launch()
            await connection.rollback()
        await connection.execute(text(MOVE[kind]))
        with pytest.raises(TransactionError, match="holds another store"):
            await task.with_options(transaction=connection).launch()
        await connection.rollback()
        await connection.invalidate()

    assert [*await tasks_of(kapusta), *await tasks_of(neighbour)] == []


async def test_names_that_are_translated_for_the_application_mean_our_store_still(
    kapusta: Kapusta, engine: AsyncEngine
) -> None:
    """An application with a schema for each customer has its own tables translated; the tasks are where they are."""
    task = kapusta.register_task(lambda: 42, name="ship")
    await kapusta.crud.startup()

    async with engine.connect() as connection:
        await connection.execution_options(schema_translate_map={None: OTHER})
        async with connection.begin():
            handle = await task.with_options(transaction=connection).launch()

    assert [each.id for each in await tasks_of(kapusta)] == [handle]
