"""The migration as SQL, printed for somebody who may change the database, and run by them without Kapusta."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import asyncpg
import pymysql
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import URL, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from kapusta_sqlalchemy import AlchemyCRUD, _migrate, metadata
from kapusta_sqlalchemy.__main__ import main
from kapusta_sqlalchemy._tables import PREFIX, build_tables
from tests.servers.mariadb import connect
from tests.sqlalchemy.records import claim, new, settled

Run = Callable[[str], None]
"""Runs a script on the database, as its own client would."""

ODD = 'my "own" %s `b` : '


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'tasks.db'}"
    found: str = request.getfixturevalue("postgres_url" if request.param == "postgresql" else "mysql_url")
    return found


@pytest.fixture
def run(url: str) -> Run:
    """What runs a script there."""
    address = make_url(url)

    def run(text: str) -> None:
        if address.get_backend_name() == "sqlite":
            with closing(sqlite3.connect(address.database or "")) as connection:
                connection.executescript(text)
        elif address.get_backend_name() == "postgresql":
            asyncio.run(_run_on_postgresql(address.set(drivername="postgresql"), text))
        else:
            with closing(connect(url)) as connection, connection.cursor() as cursor:
                cursor.execute(text)
                while cursor.nextset():
                    pass

    return run


async def _run_on_postgresql(address: URL, text: str) -> None:
    connection = await asyncpg.connect(address.render_as_string(hide_password=False))
    try:
        await connection.execute(text)
    finally:
        await connection.close()


async def asked(url: str, question: str) -> list[Any]:
    """The rows of a question."""
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        rows = [tuple(row) for row in await connection.execute(text(question))]
    await engine.dispose()
    return rows


def printed(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    """What the command prints."""
    capsys.readouterr()
    assert main(["upgrade", *words]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    return out


async def test_the_script_makes_a_store_that_starts_without_migrating(
    url: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run on an empty database it leaves a store that a handle starts on and works with, and Alembic agrees."""
    await asyncio.to_thread(run, printed(capsys, url, "--sql"))

    crud = AlchemyCRUD(url, migrate=False)
    await crud.startup()
    await crud.add_tasks([new()])
    [task] = (await crud.claim_tasks(claim())).tasks
    [changed] = await crud.change_tasks([settled(task)])
    await crud.shutdown()
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), metadata)
        )
    await engine.dispose()
    assert changed.answer == "accepted"
    assert differences == []


async def test_the_script_has_the_names_that_are_asked_for(
    url: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """A prefix is written as it is, however odd; on PostgreSQL the schema is made too, as `startup()` would."""
    words, schema = ["--table-prefix", ODD], None
    if "postgresql" in url:
        words, schema = [*words, "--schema", "My tasks"], "My tasks"
    await asyncio.to_thread(run, printed(capsys, url, "--sql", *words))

    crud = AlchemyCRUD(url, migrate=False, table_prefix=ODD, schema=schema)
    await crud.startup()
    [added] = await crud.add_tasks([new()])
    await crud.shutdown()

    assert added.outcome == "new"


async def test_a_script_that_is_run_twice_makes_two_stores(
    url: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """The id by which a transaction's store is known is the database's own, not the script's."""
    made = printed(capsys, url, "--sql")
    ids = []
    for _ in range(2):
        await asyncio.to_thread(run, made)
        ids += await asked(url, "SELECT id FROM kapusta_store")
        for table in metadata.tables:
            await asyncio.to_thread(run, f"DROP TABLE {table}")

    assert len({id for (id,) in ids}) == 2
    assert {len(id) for (id,) in ids} == {32}


async def test_a_script_that_fails_leaves_nothing(
    url: str, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where DDL is transactional, so is the script; elsewhere its second run stops at the first table."""
    made = printed(capsys, url, "--sql")
    errors = (sqlite3.Error, asyncpg.PostgresError, pymysql.Error)
    if "mysql" in url:
        await asyncio.to_thread(run, made)
        with pytest.raises(errors, match="already exists"):
            await asyncio.to_thread(run, made)
        assert await asked(url, "SELECT COUNT(*) FROM kapusta_store") == [(1,)]
        return

    with pytest.raises(errors):
        await asyncio.to_thread(run, made.replace("COMMIT;", "INSERT INTO nowhere VALUES (1); COMMIT;"))

    await asyncio.to_thread(run, made)
    assert await asked(url, "SELECT COUNT(*) FROM kapusta_store") == [(1,)]


REVISION = """
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade(prefix, schema):
    op.execute(f"UPDATE {prefix}store SET schema_version = 2")
"""


async def test_from_a_revision_the_script_starts_there(
    url: str, run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A store that has a revision gets those after it, and none again; then its version is the last one."""
    await asyncio.to_thread(run, printed(capsys, url, "--sql"))
    folder = shutil.copytree(_migrate.MIGRATIONS, tmp_path / "migrations")
    (folder / "versions" / "0002_more.py").write_text(REVISION)
    monkeypatch.setattr(_migrate, "MIGRATIONS", folder)
    [(has,)] = await asked(url, "SELECT version_num FROM kapusta_alembic_version")

    made = printed(capsys, url, "--sql", "--from", has)
    await asyncio.to_thread(run, made)

    assert "CREATE TABLE" not in made
    assert await asked(url, "SELECT version_num FROM kapusta_alembic_version") == [("0002",)]
    assert await asked(url, "SELECT schema_version FROM kapusta_store") == [(2,)]


@pytest.mark.parametrize(
    "address",
    ["sqlite:///{}/tasks.db", "postgresql://nowhere.invalid/shop", "mariadb+aiomysql://nowhere.invalid/shop"],
)
def test_nothing_is_touched_and_no_driver_is_needed(tmp_path: Path, address: str) -> None:
    """Whoever prints the script need not reach the database, nor have installed what would."""
    blocked = "import sys; sys.modules.update(dict.fromkeys(['aiosqlite', 'asyncpg', 'aiomysql', 'pymysql']))"
    code = f"{blocked}\nfrom kapusta_sqlalchemy.__main__ import main\nsys.exit(main(sys.argv[1:]))"

    ran = subprocess.run(
        [sys.executable, "-c", code, "upgrade", address.format(tmp_path), "--sql"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout.count("CREATE TABLE") == len(metadata.tables)
    assert list(tmp_path.iterdir()) == []


def test_the_script_is_one_that_mariadb_and_mysql_understand(capsys: pytest.CaptureFixture[str]) -> None:
    """URLs of both kinds lead to either server, so nothing is written that only one of them has."""
    scripts = {printed(capsys, f"{kind}://host/shop", "--sql") for kind in ("mysql", "mariadb")}

    (made,) = scripts
    assert "RETURNING" not in made


def test_a_revision_that_does_not_exist_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With those that do; and without `--sql` the database is asked, so there is nothing to say."""
    assert main(["upgrade", "sqlite:///tasks.db", "--sql", "--from", "f00d"]) == 1
    assert capsys.readouterr().err == "There is no revision 'f00d'. Known are: 0001.\n"

    with pytest.raises(SystemExit):
        main(["upgrade", "sqlite:///tasks.db", "--from", "0001"])
    assert "--from goes with --sql" in capsys.readouterr().err


def test_a_database_that_is_not_spoken_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """With an address that would do."""
    assert main(["upgrade", "oracle://host/shop", "--sql"]) == 1

    assert "asks for the database 'oracle'" in capsys.readouterr().err


@pytest.mark.parametrize("url", ["sqlite"], indirect=True)
def test_what_the_database_refuses_is_said_in_words(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A name that it cannot have: the exit code is 1, and one line says what the database said."""
    assert main(["upgrade", url, "--table-prefix", "sqlite_"]) == 1

    said = capsys.readouterr().err
    assert said.startswith("The database did not carry out the upgrade: ")
    assert "object name reserved for internal use: sqlite_" in said
    assert said.endswith(". Check what --schema and --table-prefix name.\n")
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("url", "words", "refusal"),
    [
        ("postgresql", ["--table-prefix", "n" * 80], "a length of 99, and the database allows 63. Choose a "),
        (
            "postgresql",
            ["--schema", "pg_shop"],
            "schema='pg_shop', which the server does not make: unacceptable schema name \"pg_shop\". Choose ",
        ),
        ("mysql", ["--table-prefix", "n" * 80], "a length of 99, and the database allows 64. Choose a "),
    ],
    indirect=["url"],
)
def test_a_name_that_the_database_cannot_have_is_named_with_its_option(
    url: str, words: list[str], refusal: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of which option it comes, and what to do; in one line."""
    assert main(["upgrade", url, *words]) == 1

    said = capsys.readouterr().err
    assert f"comes with {words[0].lstrip('-').replace('-', '_')}={words[1]!r}" in said
    assert refusal in said
    assert said.count("\n") == 1


def test_the_help_names_the_table_that_knows_the_revision(capsys: pytest.CaptureFixture[str]) -> None:
    """As it is in the database, with the prefix that tables have unless another is given."""
    with pytest.raises(SystemExit):
        main(["upgrade", "--help"])

    said = capsys.readouterr().out.split()
    assert [word for word in said if "alembic" in word] == [build_tables(PREFIX, None).version.name]


def test_url_is_read_from_the_environment(tmp_path: Path) -> None:
    """As an argument its password would be in the list of processes, for every user of the machine."""
    file = tmp_path / "tasks.db"
    environment = os.environ | {"KAPUSTA_URL": f"sqlite+aiosqlite:///{file}"}

    said = subprocess.run(
        [sys.executable, "-m", "kapusta_sqlalchemy", "upgrade"],
        env=environment,
        capture_output=True,
        check=False,
    )

    assert (said.returncode, said.stderr) == (0, b"")
    assert file.exists()


def test_url_that_is_given_takes_precedence_over_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise a variable that was set for another store would have that one migrated."""
    monkeypatch.setenv("KAPUSTA_URL", f"sqlite+aiosqlite:///{tmp_path / 'other.db'}")

    assert main(["upgrade", f"sqlite+aiosqlite:///{tmp_path / 'tasks.db'}"]) == 0

    assert [path.name for path in tmp_path.glob("*.db")] == ["tasks.db"]


def test_url_that_is_missing_is_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The variable is named to those who would rather not type a password."""
    monkeypatch.delenv("KAPUSTA_URL", raising=False)

    with pytest.raises(SystemExit, match="2"):
        main(["upgrade"])

    assert "give the URL, or set KAPUSTA_URL" in capsys.readouterr().err
