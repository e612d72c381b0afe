"""What an address leads to, and what is said of one that leads nowhere."""
# ruff: noqa: ASYNC240 - nothing else runs on the loop of a test

from __future__ import annotations

import os
import re
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool, NullPool

from kapusta.backend import Capabilities, MissingDriverError, StoreError, StoreUnavailableError, StoreUrlError
from kapusta_sqlalchemy import AlchemyCRUD
from kapusta_sqlalchemy._dialects._sqlite._opening import check_version
from tests.sqlalchemy.records import new


@pytest.mark.parametrize(
    ("address", "problem", "remedy"),
    [
        ("", "cannot be read", "sqlite+aiosqlite:///path/to/file.db"),
        ("tasks.db", "cannot be read", "sqlite+aiosqlite:///path/to/file.db"),
        ("sqlite://user:secret@host:port/x", "cannot be read", "sqlite+aiosqlite:///path/to/file.db"),
        ("sqlite://", "in memory", "memory://"),
        ("sqlite:///:memory:", "in memory", "sqlite+aiosqlite:///tasks.db"),
        ("sqlite+aiosqlite:///:memory:", "in memory", "memory://"),
        ("sqlite+aiosqlite:///file::memory:?cache=shared&uri=true", "in memory", "memory://"),
        ("sqlite+aiosqlite:///file:shared?mode=memory&uri=true", "in memory", "memory://"),
        ("sqlite+pysqlite:///tasks.db", "'pysqlite', which cannot wait", "sqlite+aiosqlite:///"),
        ("oracle://host/name", "'oracle', which this version does not speak", "sqlite+aiosqlite:///"),
        ("sqlite:////no/such/folder/tasks.db", "the folder /no/such/folder, which does not exist", "Create"),
        (f"sqlite:///{Path(__file__).parent}", "a folder", "Name a file"),
        (f"sqlite:///{__file__}", "not a SQLite database", "Name another file"),
        (42, "is of type int, not text", "sqlite+aiosqlite:///"),
        (None, "is of type NoneType, not text", "sqlite+aiosqlite:///"),
    ],
)
async def test_an_address_that_leads_nowhere_is_refused_at_startup(
    address: object, problem: str, remedy: str
) -> None:
    """Constructing accepts anything; `startup()` says what is wrong, with which address, and what to write."""
    crud = AlchemyCRUD(address)  # type: ignore[arg-type]  # whatever a person may pass

    with pytest.raises(StoreUrlError) as caught:
        await crud.startup()

    assert caught.value.problem.find(problem) >= 0, caught.value
    assert remedy in caught.value.remedy
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("sqlite+aiosqlite:///tasks.db", "<AlchemyCRUD sqlite+aiosqlite:///tasks.db>"),
        (
            "postgresql://u:secret@host/db?password=secret",
            "<AlchemyCRUD postgresql://u:***@host/db?password=***>",
        ),
        ("sqlite://:@secret@host/db", "<AlchemyCRUD sqlite://:***@host/db>"),
        (make_url("mysql://u:secret@host/db?password=secret"), "<AlchemyCRUD mysql://u:***@host/db>"),
        ("secret", "<AlchemyCRUD>"),
        (42, "<AlchemyCRUD>"),
    ],
)
def test_a_handle_says_where_its_store_is(address: object, shown: str) -> None:
    """Without a password, wherever that stands; and a wrong address is no reason to fail."""
    assert repr(AlchemyCRUD(address)) == shown  # type: ignore[arg-type]  # whatever a person may pass


async def test_a_blocking_engine_is_refused(path: Path) -> None:
    """An `Engine` would block the event loop; the error names `create_async_engine`."""
    with pytest.raises(StoreUrlError, match="create_async_engine"):
        await AlchemyCRUD(create_engine(f"sqlite:///{path}")).startup()  # type: ignore[arg-type]  # the mistake


async def test_an_engine_in_memory_is_refused() -> None:
    """An `AsyncEngine` on `:memory:` has no twin that sees the same tasks."""
    engine = create_async_engine("sqlite+aiosqlite:///:memory:")

    with pytest.raises(StoreUrlError, match="memory://"):
        await AlchemyCRUD(engine).startup()

    await engine.dispose()


@pytest.mark.parametrize("scheme", ["sqlite", "sqlite+aiosqlite"])
async def test_both_schemes_and_url_objects_mean_the_file(scheme: str, path: Path) -> None:
    """`sqlite:///` is `sqlite+aiosqlite:///`, as text and as SQLAlchemy's URL."""
    for address in (f"{scheme}:///{path}", make_url(f"{scheme}:///{path}")):
        crud = AlchemyCRUD(address)
        await crud.startup()
        await crud.shutdown()

    assert path.exists()


def test_constructing_opens_nothing(path: Path, url: str) -> None:
    """A handle that was never started has made no file, and knows what its database can do."""
    crud = AlchemyCRUD(url)

    assert not path.exists()
    assert crud.capabilities.pushes_wakeups
    assert AlchemyCRUD("").capabilities == Capabilities()


async def test_a_missing_driver_names_what_to_install(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without aiosqlite the error says which `pip install` brings it."""
    import sys

    for name in [name for name in sys.modules if name.startswith("kapusta_sqlalchemy._dialects._sqlite")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aiosqlite", None)

    with pytest.raises(MissingDriverError, match="pip install kapusta-sqlalchemy") as caught:
        await AlchemyCRUD(url).startup()

    assert caught.value.driver == "aiosqlite"


def test_an_old_sqlite_is_refused() -> None:
    """Before 3.35 there is no RETURNING; the error names the version that was found."""
    address = make_url("sqlite:///tasks.db")

    check_version("3.35.0", address)
    with pytest.raises(StoreUrlError, match=r"SQLite 3\.34\.1, which is too old"):
        check_version("3.34.1", address)


async def test_a_read_only_file_says_so(url: str, path: Path) -> None:
    """Where nothing can be written, an operation raises `StoreError` with SQLite's own words."""
    crud = AlchemyCRUD(url)
    await crud.startup()
    await crud.shutdown()
    read_only = AlchemyCRUD(f"sqlite+aiosqlite:///file:{path}?mode=ro&uri=true")
    await read_only.startup()

    with pytest.raises(StoreError, match=r"add_tasks.*readonly"):
        await read_only.add_tasks([new()])

    await read_only.shutdown()


async def test_a_full_disk_says_so_and_is_survived(url: str, path: Path) -> None:
    """When the file cannot grow, the launch raises `StoreUnavailableError`; once it can, the next succeeds."""
    engine = create_async_engine(url, poolclass=AsyncAdaptedQueuePool, pool_size=1, max_overflow=0)
    crud = AlchemyCRUD(engine)
    await crud.startup()
    async with engine.connect() as connection:
        pages = (await connection.exec_driver_sql("PRAGMA page_count")).scalar_one()
        await connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    with pytest.raises(StoreUnavailableError, match="add_tasks: database or disk is full"):
        await crud.add_tasks([new(payload=b"x" * 100_000)])
    assert [added.outcome for added in await crud.add_tasks([new(payload=b"x" * 100_000)])] == ["new"]

    await crud.shutdown()
    await engine.dispose()


@pytest.mark.skipif(os.name != "posix", reason="elsewhere an open file cannot be deleted")
@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "deleted"])
async def test_a_file_that_has_gone_is_not_written_to(store: AlchemyCRUD, path: Path, replaced: bool) -> None:
    """SQLite goes on writing into a deleted file; a launch into it must not be told it is durable."""
    path.unlink()
    if replaced:
        sqlite3.connect(path).close()

    with pytest.raises(StoreUnavailableError, match="was deleted or replaced"):
        await store.add_tasks([new()])


@pytest.mark.skipif(os.name != "posix", reason="elsewhere an open file cannot be deleted")
@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "deleted"])
async def test_log_that_has_gone_is_not_written_to(store: AlchemyCRUD, path: Path, replaced: bool) -> None:
    """Another process would start a new log, and neither would see what the other one has confirmed."""
    await store.add_tasks([new()])
    log = path.with_name(f"{path.name}-wal")
    log.unlink()
    if replaced:
        log.touch()

    with pytest.raises(StoreUnavailableError, match="-wal was deleted or replaced"):
        await store.add_tasks([new()])


async def test_log_of_a_connection_that_was_closed_may_go(tmp_path: Path) -> None:
    """The last connection deletes its log; an engine that keeps no connection makes a new one each time."""
    engine = create_async_engine(f"sqlite+aiosqlite:///{tmp_path / 'tasks.db'}", poolclass=NullPool)
    store = AlchemyCRUD(engine)
    await store.startup()

    answers = [await store.add_tasks([new()]) for _ in range(3)]

    assert [added.outcome for [added] in answers] == ["new"] * 3
    await store.shutdown()


async def test_tables_without_a_prefix_are_refused(tmp_path: Path) -> None:
    """One of them would be the very table in which a user's own Alembic keeps its version."""
    store = AlchemyCRUD(f"sqlite+aiosqlite:///{tmp_path / 'tasks.db'}", table_prefix="")

    with pytest.raises(
        StoreUrlError, match="table_prefix='', so that a table of ours would be 'alembic_version'"
    ):
        await store.startup()
    assert not (tmp_path / "tasks.db").exists()


@pytest.mark.parametrize("option", ["table_prefix", "schema"])
@pytest.mark.parametrize("character", ["\0", "\ud800"])
async def test_name_with_a_character_that_no_database_takes_is_refused(
    tmp_path: Path, option: str, character: str
) -> None:
    """The driver says of a statement that it cannot be sent, and not which option is to blame."""
    name = f"my{character}"
    store = AlchemyCRUD(f"sqlite+aiosqlite:///{tmp_path / 'tasks.db'}", **{option: name})

    with pytest.raises(StoreUrlError, match=f"{option}='my.*takes no {re.escape(repr(character))} in a name"):
        await store.startup()
    assert not (tmp_path / "tasks.db").exists()
