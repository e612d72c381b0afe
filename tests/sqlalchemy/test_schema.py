"""How a store comes to have its tables, and who may use it."""
# ruff: noqa: ASYNC220, ASYNC221, ASYNC240 - nothing else runs on the loop of a test

from __future__ import annotations

import asyncio
import gc
import sqlite3
import subprocess
import sys
import warnings
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

import kapusta_sqlalchemy
from kapusta.backend import StoreNotMigratedError, StoreTooNewError, TaskQuery
from kapusta_sqlalchemy import AlchemyCRUD, _migrate, include_object, metadata
from kapusta_sqlalchemy.__main__ import main
from kapusta_sqlalchemy._migrate import HEAD, READER, SCHEMA_VERSION, Identity, Verdict, _upgrade, judge
from kapusta_sqlalchemy._tables import build_tables, names_of
from tests.sqlalchemy.records import new

MIGRATIONS = Path(kapusta_sqlalchemy.__file__).parent / "migrations"


def _schema(path: Path) -> dict[str, str]:
    with closing(sqlite3.connect(path)) as connection:
        return dict(connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL"))


def _upgraded(path: Path, prefix: str = "kapusta_") -> None:
    """Make the tables by Alembic's revisions, from the first to the last."""
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        _upgrade(connection, build_tables(prefix))
    engine.dispose()


async def test_a_new_store_has_what_the_revisions_make(
    store: AlchemyCRUD, path: Path, tmp_path: Path
) -> None:
    """Creating all tables at once is the shortcut; the revisions are the truth; table by table they are equal."""
    _upgraded(tmp_path / "revisions.db")

    assert _schema(path) == _schema(tmp_path / "revisions.db")


async def test_startup_can_go_by_the_revisions(
    url: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `startup()` does with an older store, Alembic in its own locked transaction, makes the same tables."""
    monkeypatch.setattr(_migrate, "_create", _migrate._upgrade)
    crud = AlchemyCRUD(url)
    await crud.startup()
    await crud.shutdown()
    await crud.startup()
    assert (await crud.add_tasks([new()]))[0].outcome == "new"
    await crud.shutdown()

    _upgraded(tmp_path / "revisions.db")
    assert _schema(path) == _schema(tmp_path / "revisions.db")


async def test_a_new_store_is_at_the_last_revision(store: AlchemyCRUD, path: Path, tmp_path: Path) -> None:
    """The version that a new store is stamped with is the newest one in the folder, and Alembic agrees."""
    _upgraded(tmp_path / "revisions.db")
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))

    heads = ScriptDirectory.from_config(config).get_heads()

    assert heads == [HEAD]
    for made in (path, tmp_path / "revisions.db"):
        with closing(sqlite3.connect(made)) as connection:
            assert connection.execute("SELECT version_num FROM kapusta_alembic_version").fetchall() == [
                (HEAD,)
            ]
            identity = connection.execute(
                "SELECT schema_version, minimum_reader FROM kapusta_store"
            ).fetchall()
            assert identity == [(SCHEMA_VERSION, READER)]


def test_alembic_finds_nothing_to_generate(tmp_path: Path) -> None:
    """Against the public metadata, a migrated store has no difference."""
    _upgraded(tmp_path / "tasks.db")
    engine = create_engine(f"sqlite:///{tmp_path / 'tasks.db'}")

    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []

    engine.dispose()


async def test_a_users_autogenerate_leaves_our_tables_alone(store: AlchemyCRUD, path: Path) -> None:
    """With `include_object`, a user's empty metadata does not drop our tables, and drops a stranger's."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE stranger (id INTEGER PRIMARY KEY)")
    engine = create_engine(f"sqlite:///{path}")

    from sqlalchemy import MetaData

    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"include_object": include_object})
        differences = compare_metadata(context, MetaData())

    engine.dispose()
    assert [(kind, table.name) for kind, table in differences] == [("remove_table", "stranger")]


def test_no_name_is_one_of_the_old_kapusta(tmp_path: Path) -> None:
    """Version 0.1.5 owns some names in the same database; none of ours is one of them."""
    _upgraded(tmp_path / "tasks.db")

    taken = {"kapusta_tasks", "kapusta_result_backends", "status", "execution_mode"}

    assert not taken & set(_schema(tmp_path / "tasks.db"))
    assert not taken & set(metadata.tables)


async def test_two_prefixes_are_two_stores(store: AlchemyCRUD, url: str) -> None:
    """A store with another prefix, however odd, shares the file and nothing else."""
    odd = AlchemyCRUD(url, table_prefix='my "own" %s {0} ')
    await odd.startup()

    await odd.add_tasks([new(), new()])

    assert len(await odd.find_tasks(TaskQuery())) == 2
    assert await store.find_tasks(TaskQuery()) == []
    twin = odd.twin()
    await twin.startup()
    assert len(await twin.find_tasks(TaskQuery())) == 2
    await twin.shutdown()
    await odd.shutdown()


async def test_a_current_store_is_started_without_alembic(store: AlchemyCRUD, url: str) -> None:
    """Alembic takes a third of a second to import; a store that is new or current does without."""
    code = (
        "import asyncio, sys\n"
        "from kapusta_sqlalchemy import AlchemyCRUD\n"
        "async def main():\n"
        "    for url in sys.argv[1:]:\n"
        "        crud = AlchemyCRUD(url)\n"
        "        await crud.startup()\n"
        "        await crud.shutdown()\n"
        "    print('alembic' in sys.modules)\n"
        "asyncio.run(main())\n"
    )

    ran = subprocess.run(
        [sys.executable, "-c", code, url, f"{url}.new"], capture_output=True, text=True, check=True
    )

    assert ran.stdout == "False\n"


@pytest.mark.parametrize(
    ("found", "verdict"),
    [
        (None, Verdict.missing),
        (Identity(SCHEMA_VERSION, READER), Verdict.usable),
        (Identity(SCHEMA_VERSION - 1, READER), Verdict.older),
        (Identity(SCHEMA_VERSION + 1, READER), Verdict.usable),
        (Identity(SCHEMA_VERSION + 1, READER + 1), Verdict.too_new),
        (Identity(SCHEMA_VERSION, READER + 1), Verdict.too_new),
    ],
)
def test_a_schema_is_judged_by_its_readers(found: Identity | None, verdict: Verdict) -> None:
    """Old code uses a newer schema as long as that says it may."""
    assert judge(found) is verdict


async def test_a_store_for_newer_readers_is_refused_and_left_alone(url: str, path: Path) -> None:
    """The error names the schema, the reader it asks for and ours; the file has not changed."""
    crud = AlchemyCRUD(url)
    await crud.startup()
    await crud.shutdown()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE kapusta_store SET schema_version = 7, minimum_reader = 5")
        connection.execute("UPDATE kapusta_alembic_version SET version_num = 'f00d'")
    before = path.read_bytes()

    with pytest.raises(
        StoreTooNewError, match="schema is '7' and asks for readers of version 5, this one is 1"
    ):
        await crud.startup()

    assert path.read_bytes() == before


async def test_a_newer_store_that_admits_us_is_used(url: str, path: Path) -> None:
    """An unknown Alembic revision alone is no reason to refuse: the store says that we may read it."""
    crud = AlchemyCRUD(url)
    await crud.startup()
    await crud.shutdown()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE kapusta_store SET schema_version = 7")
        connection.execute("UPDATE kapusta_alembic_version SET version_num = 'f00d'")

    await crud.startup()

    assert (await crud.add_tasks([new()]))[0].outcome == "new"
    await crud.shutdown()


async def test_without_migrate_a_new_store_is_refused_with_the_command(
    url: str, path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`migrate=False` creates nothing; the command that the error names does, and then it starts."""
    crud = AlchemyCRUD(url, migrate=False)

    with pytest.raises(StoreNotMigratedError) as caught:
        await crud.startup()
    assert _schema(path) == {}
    assert caught.value.command == f"python -m kapusta_sqlalchemy upgrade {url}"

    assert await asyncio.to_thread(main, caught.value.command.split()[3:]) == 0
    await crud.startup()
    await crud.shutdown()
    assert capsys.readouterr().err == ""


async def test_the_command_names_prefix_and_schema(url: str) -> None:
    """Where the tables are not the usual ones, the command to run says so."""
    with pytest.raises(StoreNotMigratedError) as caught:
        await AlchemyCRUD(url, migrate=False, table_prefix="my tasks_", schema="main").startup()

    assert caught.value.command.endswith(f"upgrade {url} --table-prefix 'my tasks_' --schema main")


def test_the_command_says_what_is_wrong(capsys: pytest.CaptureFixture[str]) -> None:
    """A URL that leads nowhere ends the command with code 1 and one sentence."""
    assert main(["upgrade", "sqlite:///:memory:"]) == 1

    assert "memory://" in capsys.readouterr().err


async def test_eight_processes_start_a_new_store_at_once(url: str, path: Path) -> None:
    """All of them start, each stores its task, and the store was made once."""
    code = (
        "import asyncio, sys\n"
        "from kapusta.backend import NewTask\n"
        "from kapusta_sqlalchemy import AlchemyCRUD\n"
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
            [sys.executable, "-c", code, url, str(number)],
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
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM kapusta_store").fetchone() == (1,)
        assert connection.execute("SELECT count(*) FROM kapusta_task").fetchone() == (8,)


async def test_a_handle_can_be_started_many_times(url: str) -> None:
    """Twice is once, also at the same time; stopped, it starts again, and before and after it refuses."""
    crud = AlchemyCRUD(url)
    await asyncio.gather(crud.startup(), crud.startup(), crud.startup())
    assert crud._started is not None
    engine = crud._started.engine
    await crud.startup()
    assert crud._started.engine is engine

    await crud.shutdown()
    await crud.shutdown()
    with pytest.raises(RuntimeError, match="not started"):
        await crud.find_tasks(TaskQuery())


@pytest.mark.leaves_a_connection  # of a loop that has gone: nobody can close it any more
@pytest.mark.parametrize("orderly", [True, False])
def test_a_handle_can_be_started_on_another_loop(url: str, orderly: bool) -> None:
    """A handle whose loop has gone, in order or not, starts on the next one."""
    crud = AlchemyCRUD(url)

    async def live(task_id: int, *, orderly: bool) -> int:
        await crud.startup()
        await crud.add_tasks([new(id=task_id)])
        found = await crud.find_tasks(TaskQuery())
        if orderly:
            await crud.shutdown()
        return len(found)

    with warnings.catch_warnings():
        warnings.simplefilter(
            "ignore", ResourceWarning
        )  # whoever leaves without a shutdown leaves a connection
        assert asyncio.run(live(1, orderly=orderly)) == 1
        assert asyncio.run(live(2, orderly=True)) == 2
        gc.collect()


def test_the_length_of_every_name_is_looked_at(path: Path, url: str) -> None:
    """Of tables and of indexes, as the file has them."""
    assert main(["upgrade", url]) == 0

    with closing(sqlite3.connect(path)) as connection:
        made = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    automatic = {name for name in made if name.startswith("sqlite_autoindex_")}
    assert made - automatic == set(names_of(build_tables())) - {"kapusta_alembic_version_pkc"}
