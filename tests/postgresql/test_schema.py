"""How a database comes to have its tables, and who may use them."""
# ruff: noqa: ASYNC220 - nothing else runs on the loop of a test

from __future__ import annotations

import asyncio
import shlex
import subprocess
import sys
from typing import Any

import asyncpg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, MetaData
from sqlalchemy.ext.asyncio import create_async_engine

from kapusta.backend import (
    StoreNotMigratedError,
    StoreUnavailableError,
    StoreUrlError,
    SystemClock,
    TaskQuery,
)
from kapusta_sqlalchemy import AlchemyCRUD, include_object, metadata
from kapusta_sqlalchemy.__main__ import main
from kapusta_sqlalchemy._dialects import _turns
from kapusta_sqlalchemy._dialects._postgresql import PostgreSQL
from kapusta_sqlalchemy._migrate import HEAD, READER, SCHEMA_VERSION, _upgrade
from kapusta_sqlalchemy._tables import build_tables
from tests.postgresql.asking import WAITING, answered
from tests.sqlalchemy.records import claim, new, settled
from tests.worker.eventually import eventually

_COLUMNS = """
SELECT attrelid::regclass::text, attname, format_type(atttypid, atttypmod), attnotnull,
       (SELECT collname FROM pg_collation WHERE oid = attcollation)
FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid
WHERE relkind = 'r' AND attnum > 0 AND relnamespace = 'public'::regnamespace ORDER BY 1, 2
"""
_INDEXES = "SELECT indexdef FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"


async def _schema(admin: asyncpg.Connection) -> list[tuple[Any, ...]]:
    """What the server says of each column and each index."""
    return [tuple(row) for text in (_COLUMNS, _INDEXES) for row in await admin.fetch(text)]


async def _synchronously(url: str, work: Any) -> Any:
    """What *work* does with a connection as Alembic takes it, in a transaction."""
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        answer = await connection.run_sync(work)
    await engine.dispose()
    return answer


async def test_a_new_store_has_what_the_revisions_make(
    store: AlchemyCRUD, admin: asyncpg.Connection, postgres_url: str
) -> None:
    """Creating all tables at once is the shortcut; the revisions are the truth; column by column they are equal."""
    created = await _schema(admin)
    await admin.execute("DROP SCHEMA public CASCADE; CREATE SCHEMA public")

    await _synchronously(postgres_url, lambda connection: _upgrade(connection, build_tables()))

    assert await _schema(admin) == created
    assert {row[0] for row in created if len(row) > 1} == set(metadata.tables)
    assert await admin.fetchval("SELECT version_num FROM kapusta_alembic_version") == HEAD
    identity = await admin.fetchrow("SELECT schema_version, minimum_reader FROM kapusta_store")
    assert tuple(identity) == (SCHEMA_VERSION, READER)


async def test_no_type_or_name_is_one_that_bites(store: AlchemyCRUD, admin: asyncpg.Connection) -> None:
    """No enum, no id of 32 bits, no naive timestamp, and nothing that bears a name of the old kapusta's."""
    columns = await admin.fetch(_COLUMNS)

    assert {row[2] for row in columns} <= {
        "bigint",
        "boolean",
        "bytea",
        "character varying(32)",
        "integer",
        "smallint",
        "text",
    }
    assert {row[2] for row in columns if row[1] in ("id", "run", "task") and "store" not in row[0]} == {
        "bigint"
    }
    names = {
        name
        for (name,) in await admin.fetch("SELECT relname FROM pg_class UNION SELECT typname FROM pg_type")
    }
    assert not {"kapusta_tasks", "kapusta_result_backends", "status", "execution_mode"} & names


async def test_alembic_finds_nothing_to_generate(store: AlchemyCRUD, postgres_url: str) -> None:
    """Against the public metadata, a new store has no difference."""

    def compare(connection: Connection) -> list[Any]:
        return list(compare_metadata(MigrationContext.configure(connection), metadata))

    assert await _synchronously(postgres_url, compare) == []


async def test_a_users_autogenerate_leaves_our_tables_alone(
    store: AlchemyCRUD, admin: asyncpg.Connection, postgres_url: str
) -> None:
    """With `include_object`, a user's empty metadata does not drop our tables, and drops a stranger's."""
    await admin.execute("CREATE TABLE stranger (id integer PRIMARY KEY)")

    def compare(connection: Connection) -> list[Any]:
        context = MigrationContext.configure(connection, opts={"include_object": include_object})
        return list(compare_metadata(context, MetaData()))

    differences = await _synchronously(postgres_url, compare)

    assert [(kind, table.name) for kind, table in differences] == [("remove_table", "stranger")]


async def test_eight_processes_start_a_new_store_at_once(postgres_url: str) -> None:
    """All of them start, each stores its task, and the store was made once."""
    code = (
        "import asyncio, logging, sys\n"
        "from kapusta.backend import NewTask\n"
        "from kapusta_sqlalchemy import AlchemyCRUD\n"
        "logging.disable(logging.WARNING)\n"  # on a busy machine one may wait for so long that it says so
        "async def main(url, number):\n"
        "    crud = AlchemyCRUD(url)\n"
        "    print('ready', flush=True)\n"
        "    sys.stdin.readline()\n"
        "    await crud.startup()\n"
        "    await crud.add_tasks([NewTask(id=number, token='t', name='n', payload=b'')])\n"
        "    await crud.shutdown()\n"
        "asyncio.run(main(sys.argv[1], int(sys.argv[2])))\n"
    )
    starters = [
        subprocess.Popen(
            [sys.executable, "-c", code, postgres_url, str(number)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(1, 9)
    ]
    for starter in starters:
        assert starter.stdout is not None
        assert starter.stdout.readline() == "ready\n"
    for starter in starters:
        assert starter.stdin is not None
        starter.stdin.write("\n")
        starter.stdin.flush()

    ended = [starter.communicate() for starter in starters]

    assert [error for _, error in ended if error] == []
    crud = AlchemyCRUD(postgres_url, migrate=False)
    await crud.startup()
    assert len(await crud.find_tasks(TaskQuery())) == 8
    await crud.shutdown()


async def test_the_lock_of_a_migration_dies_with_its_holder(
    admin_of_empty: asyncpg.Connection, postgres_url: str
) -> None:
    """Whoever migrates is waited for; when its connection is killed, others go on, and nothing half-made is left."""
    begun, never = asyncio.Event(), asyncio.Event()

    first, second = AlchemyCRUD(postgres_url), AlchemyCRUD(postgres_url)
    original = PostgreSQL.migrating

    def migrating(dialect: PostgreSQL, connection: Any) -> Any:
        context = original(dialect, connection)
        if begun.is_set():
            return context
        return _Halting(context, begun, never)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(PostgreSQL, "migrating", migrating)
        dying = asyncio.ensure_future(first.startup())
        await begun.wait()
        waiting = asyncio.ensure_future(second.startup())
        holder = await answered(
            admin_of_empty,
            "SELECT held.pid FROM pg_locks AS held JOIN pg_locks AS wanted USING (locktype, objid, classid) "
            "WHERE locktype = 'advisory' AND held.granted AND NOT wanted.granted",
        )
        assert not waiting.done()

        await admin_of_empty.execute("SELECT pg_terminate_backend($1)", holder)
        never.set()

        async with asyncio.timeout(5):
            await waiting
        with pytest.raises(StoreUnavailableError):
            await dying
    assert (await second.add_tasks([new()]))[0].outcome == "new"
    await second.shutdown()


@pytest.mark.parametrize("isolation", ["read committed", "serializable"])
async def test_whoever_waits_for_a_migration_says_so_and_uses_what_it_made(
    admin_of_empty: asyncpg.Connection, postgres_url: str, caplog: pytest.LogCaptureFixture, isolation: str
) -> None:
    """The log names the connection that is waited for; what is made meanwhile is seen, and made once."""
    begun, go_on = asyncio.Event(), asyncio.Event()
    original = PostgreSQL.migrating

    def migrating(dialect: PostgreSQL, connection: Any) -> Any:
        context = original(dialect, connection)
        return context if begun.is_set() else _Halting(context, begun, go_on)

    engine = create_async_engine(
        postgres_url, connect_args={"server_settings": {"default_transaction_isolation": isolation}}
    )
    first, second = AlchemyCRUD(postgres_url), AlchemyCRUD(engine)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_turns, "QUIET_SECONDS", 0.1)
        patch.setattr(PostgreSQL, "migrating", migrating)
        migrates = asyncio.ensure_future(first.startup())
        await begun.wait()
        waits = asyncio.ensure_future(second.startup())
        holder = await answered(
            admin_of_empty, "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND granted"
        )
        await eventually(lambda: caplog.messages, "the waiting one says so")
        await answered(admin_of_empty, WAITING)
        go_on.set()
        await asyncio.gather(migrates, waits)

    (said,) = caplog.messages
    assert (
        f"waiting for another process, which migrates the tables (connection {holder} of the server)" in said
    )
    assert await admin_of_empty.fetchval("SELECT count(*) FROM kapusta_store") == 1
    for crud in (first, second):
        await crud.shutdown()
    await engine.dispose()


async def test_a_migration_that_never_ends_is_not_waited_for_for_ever(
    admin_of_empty: asyncpg.Connection, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a bounded time startup fails, and says which connection to look at; when that ends, it starts."""
    monkeypatch.setattr(_turns, "QUIET_SECONDS", 0.2)
    monkeypatch.setattr(_turns, "SECONDS", 0.8)
    dialect = PostgreSQL(build_tables(), SystemClock())
    crud = AlchemyCRUD(postgres_url)
    async with admin_of_empty.transaction():
        await admin_of_empty.execute(f"SELECT pg_advisory_xact_lock({dialect._lock_number})")
        holder = admin_of_empty.get_server_pid()

        async with asyncio.timeout(5):
            with pytest.raises(StoreUnavailableError, match=rf"for more than 1 s \(connection {holder} of"):
                await crud.startup()

    await crud.startup()
    await crud.shutdown()


class _Halting:
    """A context that, once entered, says so and waits."""

    def __init__(self, context: Any, begun: asyncio.Event, go_on: asyncio.Event) -> None:
        self._context, self._begun, self._go_on = context, begun, go_on

    async def __aenter__(self) -> None:
        await self._context.__aenter__()
        self._begun.set()
        await self._go_on.wait()

    async def __aexit__(self, *error: object) -> Any:
        return await self._context.__aexit__(*error)


async def test_a_role_without_ddl_rights_works_on_a_migrated_store(
    store: AlchemyCRUD, lesser_url: str
) -> None:
    """With the rights to read and write rows a handle starts, though it may migrate, and lives a whole life."""
    crud = AlchemyCRUD(lesser_url)
    await crud.startup()

    await crud.add_tasks([new()])
    (given,) = (await crud.claim_tasks(claim())).tasks
    await crud.change_tasks([settled(given)])

    assert await crud.delete_tasks([given.id]) == 1
    await crud.shutdown()


async def test_a_role_without_ddl_rights_is_told_so(lesser_url: str) -> None:
    """On a database without tables, who may not create them learns which command somebody else is to run."""
    with pytest.raises(StoreNotMigratedError, match="python -m kapusta_sqlalchemy upgrade"):
        await AlchemyCRUD(lesser_url).startup()


async def test_without_migrate_a_new_store_is_refused_with_the_command(
    admin_of_empty: asyncpg.Connection, postgres_url: str
) -> None:
    """`migrate=False` creates nothing; the command that the error names does, and then it starts."""
    crud = AlchemyCRUD(postgres_url, migrate=False)

    with pytest.raises(StoreNotMigratedError) as caught:
        await crud.startup()
    assert await _schema(admin_of_empty) == []

    words = shlex.split(caught.value.command)[3:]
    typed = [postgres_url if "***" in word else word for word in words]  # as the message asks
    assert await asyncio.to_thread(main, typed) == 0
    await crud.startup()
    await crud.shutdown()


async def test_two_prefixes_are_two_stores(store: AlchemyCRUD, postgres_url: str) -> None:
    """A store with another prefix, however odd, shares the database and nothing else."""
    odd = AlchemyCRUD(postgres_url, table_prefix="my \"own\" 'q' %s $1 ")
    await odd.startup()

    await odd.add_tasks([new(), new()])
    tasks = (await odd.claim_tasks(claim())).tasks
    await odd.change_tasks([settled(task) for task in tasks])

    assert len(await odd.find_tasks(TaskQuery())) == 2
    assert await store.find_tasks(TaskQuery()) == []
    assert await odd.delete_tasks([task.id for task in tasks]) == 2
    await odd.shutdown()


async def test_a_schema_is_made_if_need_be(
    store: AlchemyCRUD, admin: asyncpg.Connection, postgres_url: str
) -> None:
    """With `schema=` all tables are in that schema, which is created with them, and nothing is in another."""
    for _ in range(2):
        crud = AlchemyCRUD(postgres_url, schema="My tasks")
        await crud.startup()
        await crud.add_tasks([new()])
        (given,) = (await crud.claim_tasks(claim())).tasks
        await crud.change_tasks([settled(given)])
        heard: asyncio.Queue[str] = asyncio.Queue()
        async with crud.listen(heard.put_nowait):
            await crud.add_tasks([new(name="unknown")])
            async with asyncio.timeout(5):
                while await heard.get() != "work":
                    pass
        await crud.shutdown()

    assert await admin.fetchval('SELECT count(*) FROM "My tasks".kapusta_task') == 4
    assert await store.find_tasks(TaskQuery()) == []


@pytest.mark.parametrize("schema", ["pg_tasks", "", "n" * 64, "ä" * 32])
async def test_a_schema_that_no_server_makes_is_named(postgres_url: str, schema: str) -> None:
    """What is reserved, empty or too long says so, each time, and not in the words of a library."""
    for _ in range(2):
        with pytest.raises(StoreUrlError, match=f"schema={schema!r}.*Choose"):
            await AlchemyCRUD(postgres_url, schema=schema).startup()


@pytest.mark.parametrize("prefix", ["p" * 45, "ä" * 23])
async def test_a_prefix_that_makes_a_name_too_long_is_named(postgres_url: str, prefix: str) -> None:
    """The server would cut the name; the longest prefix makes a store, and one more character none."""
    longest = AlchemyCRUD(postgres_url, table_prefix=prefix[:-1])
    await longest.startup()
    await longest.add_tasks([new()])
    await longest.shutdown()

    with pytest.raises(StoreUrlError, match=f"table_prefix={prefix!r}.*allows 63.*Choose a shorter one"):
        await AlchemyCRUD(postgres_url, table_prefix=prefix).startup()


async def test_a_role_that_may_not_create_the_schema_is_told_so(lesser_url: str) -> None:
    """The command in the error names the schema."""
    with pytest.raises(StoreNotMigratedError, match="--schema elsewhere"):
        await AlchemyCRUD(lesser_url, schema="elsewhere").startup()


async def test_beside_the_tables_of_the_old_kapusta(
    admin_of_empty: asyncpg.Connection, postgres_url: str
) -> None:
    """In a database that 0.1.5 has used, with its tables and enum types, a new store is made and works."""
    await admin_of_empty.execute(
        "CREATE TYPE status AS ENUM ('pending', 'started', 'success', 'error', 'timeout', 'overdue');"
        "CREATE TYPE execution_mode AS ENUM ('sync', 'async_', 'thread', 'process');"
        "CREATE TABLE kapusta_tasks (id serial PRIMARY KEY, status status, execution_mode execution_mode);"
        "CREATE TABLE kapusta_result_backends (id serial PRIMARY KEY, result bytea)"
    )
    crud = AlchemyCRUD(postgres_url)
    await crud.startup()

    await crud.add_tasks([new()])
    assert len((await crud.claim_tasks(claim())).tasks) == 1
    await crud.shutdown()


@pytest.mark.parametrize("option", ["table_prefix", "schema"])
async def test_name_with_a_nul_is_refused(postgres_url: str, option: str) -> None:
    """The server complains of a byte sequence, and not of the option that is to blame."""
    store = AlchemyCRUD(postgres_url, **{option: "my\0"})

    with pytest.raises(StoreUrlError, match=f"{option}='my.*takes no .* in a name"):
        await store.startup()


@pytest.mark.parametrize("schema", ["}:s", "50% of %s", "{0} $1 😀"])
async def test_schema_may_be_called_anything(postgres_url: str, schema: str) -> None:
    """What looks like a parameter in the name of a schema that is to be created is none."""
    store = AlchemyCRUD(postgres_url, schema=schema)
    await store.startup()

    [added] = await store.add_tasks([new()])

    assert added.outcome == "new"
    assert len((await store.claim_tasks(claim())).tasks) == 1
    await store.shutdown()
