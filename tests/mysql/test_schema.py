"""How a database comes to have its tables, where DDL is not transactional, and who may use them."""
# ruff: noqa: ASYNC220 - nothing else runs on the loop of a test

from __future__ import annotations

import asyncio
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, suppress
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Connection, Engine, MetaData, create_engine, event, make_url
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import create_async_engine

from kapusta.backend import StoreNotMigratedError, StoreUnavailableError, StoreUrlError, TaskQuery
from kapusta_sqlalchemy import AlchemyCRUD, _migrate, include_object, metadata
from kapusta_sqlalchemy.__main__ import main
from kapusta_sqlalchemy._dialects import _turns
from kapusta_sqlalchemy._migrate import HEAD, READER, SCHEMA_VERSION, _create, _upgrade
from kapusta_sqlalchemy._tables import build_tables
from tests.servers.mariadb import ask, connect
from tests.sqlalchemy.records import claim, new, settled


def _schema(mysql_url: str) -> dict[str, str]:
    """What the server says of each table, its indexes in the order of their names."""
    schema = {}
    for (name,) in ask(mysql_url, "SHOW TABLES"):
        [(_, text)] = ask(mysql_url, f"SHOW CREATE TABLE `{name}`")
        lines = [line.strip().rstrip(",") for line in text.splitlines()]
        keys = [line for line in lines if "KEY" in line]
        schema[name] = "\n".join([*(line for line in lines if line not in keys), *sorted(keys)])
    return schema


@pytest.fixture
def blocking(mysql_url: str) -> Iterator[Engine]:
    """An engine as Alembic takes it."""
    engine = create_engine(make_url(mysql_url).set(drivername="mysql+pymysql"))
    yield engine
    engine.dispose()


async def test_a_new_store_has_what_the_revisions_make(
    store: AlchemyCRUD, mysql_url: str, blocking: Engine
) -> None:
    """Creating all tables at once is the shortcut; the revisions are the truth; table by table they are equal."""
    created = _schema(mysql_url)
    for name in created:
        ask(mysql_url, f"DROP TABLE `{name}`")

    with blocking.begin() as connection:
        _upgrade(connection, build_tables())

    assert _schema(mysql_url) == created
    assert set(created) == set(metadata.tables)
    assert ask(mysql_url, "SELECT version_num FROM kapusta_alembic_version") == [(HEAD,)]
    identity = ask(mysql_url, "SELECT schema_version, minimum_reader FROM kapusta_store")
    assert identity == [(SCHEMA_VERSION, READER)]


def test_no_type_or_name_is_one_that_bites(mysql_url: str) -> None:
    """No BLOB of 64 KiB, no DATETIME, no ENUM, no id of 32 bits, no table of the old kapusta; all is InnoDB."""
    assert main(["upgrade", mysql_url]) == 0

    schema = _schema(mysql_url)

    text = "\n".join(schema.values())
    assert not re.search(r"` (blob|text|enum|datetime|timestamp)", text)
    assert re.search("`id` bigint", schema["kapusta_task"])
    assert text.count("ENGINE=InnoDB") == len(schema)
    assert not {"kapusta_tasks", "kapusta_result_backends"} & set(schema)


def test_alembic_finds_nothing_to_generate(mysql_url: str, blocking: Engine) -> None:
    """Against the public metadata, a new store has no difference."""
    assert main(["upgrade", mysql_url]) == 0

    with blocking.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_users_autogenerate_leaves_our_tables_alone(mysql_url: str, blocking: Engine) -> None:
    """With `include_object`, a user's empty metadata does not drop our tables, and drops a stranger's."""
    assert main(["upgrade", mysql_url]) == 0
    ask(mysql_url, "CREATE TABLE stranger (id INTEGER PRIMARY KEY)")

    with blocking.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": include_object})
        differences = compare_metadata(context, MetaData())

    assert [(kind, table.name) for kind, table in differences] == [("remove_table", "stranger")]


async def test_eight_processes_start_a_new_store_at_once(mysql_url: str) -> None:
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
            [sys.executable, "-c", code, mysql_url, str(number)],
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
    assert ask(mysql_url, "SELECT COUNT(*) FROM kapusta_store") == [(1,)]
    assert ask(mysql_url, "SELECT COUNT(*) FROM kapusta_alembic_version") == [(1,)]
    assert ask(mysql_url, "SELECT COUNT(*) FROM kapusta_task") == [(8,)]


@pytest.mark.parametrize("step", range(1, 14))
async def test_a_migration_that_broke_off_can_be_repeated(mysql_url: str, step: int) -> None:
    """Wherever the server was lost while the tables were made, the next `startup()` makes the same store."""
    engine = create_async_engine(mysql_url)
    done = 0

    @event.listens_for(engine.sync_engine, "before_cursor_execute")
    def break_off(
        connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool
    ) -> None:
        nonlocal done
        if statement.lstrip().startswith(("CREATE", "INSERT", "DELETE")):
            done += 1
            if done == step:
                ask(mysql_url, f"KILL {connection.connection.driver_connection.thread_id()}")

    with pytest.raises(StoreUnavailableError):
        await AlchemyCRUD(engine).startup()
    await engine.dispose()
    assert done == step

    crud = AlchemyCRUD(mysql_url)
    await crud.startup()
    assert (await crud.add_tasks([new()]))[0].outcome == "new"
    await crud.shutdown()
    broken = _schema(mysql_url)
    for name in broken:
        ask(mysql_url, f"DROP TABLE `{name}`")
    assert await asyncio.to_thread(main, ["upgrade", mysql_url]) == 0
    assert _schema(mysql_url) == broken


async def test_the_lock_of_a_migration_dies_with_its_holder(
    mysql_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whoever migrates is waited for, not for ever, and named; when its connection ends, others go on."""
    monkeypatch.setattr(_turns, "QUIET_SECONDS", 0.2)
    monkeypatch.setattr(_turns, "SECONDS", 0.8)
    name = f"SHA1(CONCAT_WS('/', DATABASE(), '{build_tables().prefix}'))"
    with closing(connect(mysql_url)) as holder, holder.cursor() as cursor:
        cursor.execute(f"SELECT GET_LOCK(CONCAT('kapusta.', {name}), 0)")
        assert cursor.fetchone() == (1,)
        who = holder.thread_id()

        async with asyncio.timeout(5):
            with pytest.raises(StoreUnavailableError, match=rf"for more than 1 s \(connection {who} of"):
                await AlchemyCRUD(mysql_url).startup()

    (said,) = caplog.messages
    assert f"waiting for another process, which migrates the tables (connection {who} of the server)" in said
    crud = AlchemyCRUD(mysql_url)
    await crud.startup()
    await crud.shutdown()


def test_who_makes_the_same_store_unseen_makes_it_alone(mysql_url: str, blocking: Engine) -> None:
    """As on another node of a cluster, which knows nothing of our lock: whenever it comes, there is one store."""
    tables = build_tables()
    engine = blocking.execution_options(isolation_level="READ COMMITTED")  # as in a migration
    begun: list[str] = []
    for moment in ("DELETE FROM kapusta_alembic_version", "INSERT INTO kapusta_alembic_version"):
        with engine.connect() as connection:
            tables.metadata.drop_all(connection)

        def be_faster(
            ours: Connection, cursor: object, statement: str, *rest: object, at: str = moment
        ) -> None:
            if at not in begun and statement.startswith(at):
                begun.append(at)
                with engine.begin() as theirs:
                    _create(theirs, tables)

        event.listen(engine, "before_cursor_execute", be_faster)
        for _ in range(2):  # a conflict is tried again, by whoever starts
            with suppress(IntegrityError), engine.begin() as connection:
                _create(connection, tables)
        event.remove(engine, "before_cursor_execute", be_faster)

        assert len(ask(mysql_url, "SELECT id FROM kapusta_store")) == 1
        assert ask(mysql_url, "SELECT version_num FROM kapusta_alembic_version") == [(HEAD,)]
    assert len(begun) == 2


async def test_a_user_without_ddl_rights_works_on_a_migrated_store(
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


async def test_a_user_without_ddl_rights_is_told_so(lesser_url: str) -> None:
    """On a database without tables, who may not create them learns which command somebody else is to run."""
    with pytest.raises(StoreNotMigratedError, match="python -m kapusta_sqlalchemy upgrade"):
        await AlchemyCRUD(lesser_url).startup()


async def test_without_migrate_a_new_store_is_refused_with_the_command(mysql_url: str) -> None:
    """`migrate=False` creates nothing; the command that the error names does, and then it starts."""
    crud = AlchemyCRUD(mysql_url, migrate=False)

    with pytest.raises(StoreNotMigratedError) as caught:
        await crud.startup()
    assert _schema(mysql_url) == {}

    words = shlex.split(caught.value.command)[3:]
    typed = [mysql_url if "***" in word else word for word in words]  # as the message asks
    assert await asyncio.to_thread(main, typed) == 0
    await crud.startup()
    await crud.shutdown()


async def test_two_prefixes_are_two_stores(store: AlchemyCRUD, mysql_url: str) -> None:
    """A store with another prefix, however odd, shares the database and nothing else."""
    odd = AlchemyCRUD(mysql_url, table_prefix="my \"own\" 'q' `b` \\ %s {0} ")
    await odd.startup()

    await odd.add_tasks([new(), new()])
    tasks = (await odd.claim_tasks(claim())).tasks
    await odd.change_tasks([settled(task) for task in tasks])

    assert len(await odd.find_tasks(TaskQuery())) == 2
    assert await store.find_tasks(TaskQuery()) == []
    assert await odd.delete_tasks([task.id for task in tasks]) == 2
    await odd.shutdown()


async def test_a_prefix_that_makes_a_name_too_long_is_named(mysql_url: str) -> None:
    """The longest prefix makes a store, and one more character none."""
    longest = AlchemyCRUD(mysql_url, table_prefix="ä" * 45)
    await longest.startup()
    await longest.add_tasks([new()])
    await longest.shutdown()

    with pytest.raises(StoreUrlError, match=r"table_prefix='ä+'.*allows 64.*Choose a shorter one"):
        await AlchemyCRUD(mysql_url, table_prefix="ä" * 46).startup()


async def test_a_schema_is_another_database(store: AlchemyCRUD, mysql_url: str) -> None:
    """With `schema=` the tables are in that database, and need no other in the URL."""
    other = f"{make_url(mysql_url).database}_other"
    ask(mysql_url, f"CREATE DATABASE {other}")
    nowhere = make_url(mysql_url)._replace(database=None)
    for address in (mysql_url, nowhere):
        crud = AlchemyCRUD(address, schema=other)
        await crud.startup()
        await crud.add_tasks([new()])
        (given,) = (await crud.claim_tasks(claim())).tasks
        await crud.change_tasks([settled(given)])
        await crud.shutdown()

    assert ask(mysql_url, f"SELECT COUNT(*) FROM {other}.kapusta_task") == [(2,)]
    assert await store.find_tasks(TaskQuery()) == []
    ask(mysql_url, f"DROP DATABASE {other}")


@pytest.mark.parametrize("schema", ["nowhere", "", "n" * 80])
def test_a_schema_that_is_not_there_is_named(
    mysql_url: str, schema: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing makes up a database: the command ends with exit code 1, and says which is missing, and what to do."""
    assert main(["upgrade", mysql_url, f"--schema={schema}"]) == 1

    said = capsys.readouterr().err
    assert f"leads to a server that shows this user no database '{schema}'" in said
    assert "CREATE DATABASE" in said
    assert said.count("\n") == 1


async def test_a_store_whose_making_breaks_off_has_no_row_of_it(
    mysql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What says that it is made is written in one transaction: in a cluster, two that make it meet at their commits."""

    def break_off() -> dict[str, object]:
        raise RuntimeError("no more")

    with monkeypatch.context() as patches, pytest.raises(RuntimeError, match="no more"):
        patches.setattr(_migrate, "new_identity", break_off)
        await AlchemyCRUD(mysql_url).startup()

    assert ask(mysql_url, "SELECT COUNT(*) FROM kapusta_alembic_version") == [(0,)]


@pytest.mark.parametrize("option", ["table_prefix", "schema"])
@pytest.mark.parametrize("character", ["\0", "😀"])
async def test_name_with_a_character_that_the_server_does_not_take_is_refused(
    mysql_url: str, option: str, character: str
) -> None:
    """The server complains of a statement of ours, and not of the option that is to blame."""
    store = AlchemyCRUD(mysql_url, **{option: f"my{character}"})

    with pytest.raises(StoreUrlError, match=f"{option}='my.*takes no {re.escape(repr(character))} in a name"):
        await store.startup()
