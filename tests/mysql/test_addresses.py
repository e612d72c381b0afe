"""Which addresses lead to a store, and what is said of the others."""

from __future__ import annotations

import logging
import sys

import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from kapusta import Kapusta
from kapusta.backend import MissingDriverError, StoreUnavailableError, StoreUrlError
from kapusta_sqlalchemy import AlchemyCRUD
from kapusta_sqlalchemy._dialects._mysql import MySQL
from kapusta_sqlalchemy._dialects._mysql._server import _check_version
from tests.servers.mariadb import ask
from tests.servers.owned import free_port
from tests.sqlalchemy.records import new


@pytest.mark.parametrize("scheme", ["mysql", "mariadb", "mysql+aiomysql", "mariadb+aiomysql"])
async def test_each_scheme_leads_there(mysql_url: str, scheme: str) -> None:
    """A `Kapusta` finds the backend by its URL, whichever of the four schemes it has."""
    url = make_url(mysql_url).set(drivername=scheme).render_as_string(hide_password=False)

    async with Kapusta(crud=url) as kapusta:
        assert isinstance(kapusta.crud, AlchemyCRUD)
        assert (await kapusta.crud.add_tasks([new()]))[0].outcome == "new"


async def test_another_driver_is_refused(mysql_url: str) -> None:
    """A driver that blocks, and one that is not known here, are named with the one to use."""
    for scheme in ("mysql+pymysql", "mariadb+asyncmy"):
        url = make_url(mysql_url).set(drivername=scheme)
        with pytest.raises(StoreUrlError, match=r"driver '(pymysql|asyncmy)'.*\+aiomysql://"):
            await AlchemyCRUD(url).startup()


async def test_without_the_driver_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where aiomysql is missing, the error says what to install."""
    for name in [name for name in sys.modules if name.startswith("kapusta_sqlalchemy._dialects._mysql")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aiomysql", None)

    with pytest.raises(MissingDriverError, match=r'pip install "kapusta-sqlalchemy\[mysql\]"$'):
        await AlchemyCRUD("mysql://user@host/database").startup()


async def test_nobody_there_is_no_answer() -> None:
    """Where nothing listens, `startup()` says that the store cannot be reached."""
    with pytest.raises(StoreUnavailableError, match=r"127\.0\.0\.1"):
        await AlchemyCRUD(f"mysql://root@127.0.0.1:{free_port()}/database").startup()


async def test_a_wrong_password_is_a_wrong_address(mysql_url: str) -> None:
    """What the server refuses will be refused again: the address is wrong, and its password is not shown."""
    ask(mysql_url, "CREATE USER somebody IDENTIFIED BY 'right'")
    url = make_url(mysql_url).set(username="somebody", password="wrong")

    with pytest.raises(StoreUrlError, match="Access denied") as caught:
        await AlchemyCRUD(url).startup()

    assert "wrong" not in str(caught.value)
    ask(mysql_url, "DROP USER somebody")


async def test_a_database_that_is_not_there_is_named(mysql_url: str) -> None:
    """Neither one that does not exist nor none at all is made up."""
    url = make_url(mysql_url)

    with pytest.raises(StoreUrlError, match=r"Unknown database 'nowhere'.*CREATE DATABASE"):
        await AlchemyCRUD(url.set(database="nowhere")).startup()
    with pytest.raises(StoreUrlError, match="names no database"):
        await AlchemyCRUD(url._replace(database=None)).startup()


@pytest.mark.parametrize(
    ("version", "is_mariadb", "too_old"),
    [
        ("10.5.23-MariaDB", True, True),
        ("10.6.0-MariaDB-log", True, False),
        ("11.4.2-MariaDB", True, False),
        ("5.7.44-log", False, True),
        ("8.0.36", False, False),
        ("8.4.0-commercial", False, False),
        ("9.1.0", False, False),
    ],
)
def test_an_old_server_is_refused(version: str, is_mariadb: bool, too_old: bool) -> None:
    """`SKIP LOCKED` came with MariaDB 10.6 and MySQL 8.0; what is older is named."""
    url = make_url("mysql://host/database")
    if not too_old:
        _check_version(version, is_mariadb, url)
        return
    with pytest.raises(StoreUrlError, match=f"{version}, which is too old"):
        _check_version(version, is_mariadb, url)


async def test_a_server_that_may_forget_is_warned_of(
    mysql_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Where commits are not flushed a warning says so at the start; elsewhere nothing does."""
    with caplog.at_level(logging.WARNING, "kapusta"):
        crud = AlchemyCRUD(mysql_url)
        await crud.startup()
        await crud.shutdown()
        assert caplog.messages == []
        ask(mysql_url, "SET GLOBAL innodb_flush_log_at_trx_commit = 2")
        try:
            await crud.startup()
            await crud.shutdown()
        finally:
            ask(mysql_url, "SET GLOBAL innodb_flush_log_at_trx_commit = 1")

    (message,) = caplog.messages
    assert "innodb_flush_log_at_trx_commit is 2" in message


async def test_a_read_only_server_is_no_outage_for_ever(
    store: AlchemyCRUD, lesser_url: str, mysql_url: str
) -> None:
    """While the server takes no writes, a launch raises `StoreUnavailableError`; afterwards it works."""
    crud = AlchemyCRUD(lesser_url)
    await crud.startup()
    ask(mysql_url, "SET GLOBAL read_only = 1")
    try:
        with pytest.raises(StoreUnavailableError, match=r"read-only|read_only"):
            await crud.add_tasks([new()])
    finally:
        ask(mysql_url, "SET GLOBAL read_only = 0")

    assert (await crud.add_tasks([new()]))[0].outcome == "new"
    await crud.shutdown()


def test_what_it_can() -> None:
    """Wake-ups are not pushed, so the others' work is looked for each second; instants are exact."""
    facts = MySQL.capabilities

    assert facts.shared_between_processes
    assert facts.survives_restart
    assert not facts.pushes_wakeups
    assert facts.poll_interval is not None
    assert facts.poll_interval.total_seconds() == 1
    assert facts.time_resolution.microseconds == 1


async def test_a_given_engine_of_a_blocking_kind_is_refused(mysql_url: str) -> None:
    """Only an `AsyncEngine` with aiomysql will do."""
    engine = create_async_engine(mysql_url)
    with pytest.raises(StoreUrlError, match="engine that blocks"):
        await AlchemyCRUD(engine.sync_engine).startup()  # type: ignore[arg-type]  # that is the claim
    await engine.dispose()


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # aiomysql's, of what it has half made
async def test_an_option_that_the_driver_does_not_know_is_named(mysql_url: str) -> None:
    """What stands behind the question mark goes to the driver; a misspelt word there is a wrong address."""
    with pytest.raises(StoreUrlError, match=r"'nonsense'.*Leave out") as caught:
        await AlchemyCRUD(f"{mysql_url}{'&' if '?' in mysql_url else '?'}nonsense=1").startup()

    assert caught.value.__cause__ is None
