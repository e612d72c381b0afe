"""What an address leads to, and what is said of one that leads nowhere."""

from __future__ import annotations

import logging
import socket
import sys
from contextlib import closing
from time import perf_counter

import asyncpg
import pytest
from sqlalchemy import make_url

import kapusta_sqlalchemy._dialects as dialects
from kapusta import Kapusta
from kapusta.backend import MissingDriverError, StoreUnavailableError, StoreUrlError, TaskQuery
from kapusta_sqlalchemy import AlchemyCRUD
from kapusta_sqlalchemy._dialects._postgresql._opening import check_server
from tests.servers.owned import free_port
from tests.servers.postgresql import administer
from tests.sqlalchemy.records import new


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+asyncpg"])
async def test_both_schemes_and_url_objects_mean_the_database(scheme: str, postgres_url: str) -> None:
    """`postgresql://` is `postgresql+asyncpg://`, as text, as SQLAlchemy's URL, and for `Kapusta` itself."""
    url = make_url(postgres_url).set(drivername=scheme)
    text = url.render_as_string(hide_password=False)
    for crud in (AlchemyCRUD(text), AlchemyCRUD(url), Kapusta(crud=text).crud):
        await crud.startup()
        assert await crud.find_tasks(TaskQuery()) == []
        await crud.shutdown()


async def test_a_driver_that_blocks_is_refused() -> None:
    """Another driver's name is answered with the address to write."""
    with pytest.raises(StoreUrlError, match=r"'psycopg2'.*postgresql\+asyncpg://"):
        await AlchemyCRUD("postgresql+psycopg2://user@host/name").startup()


async def test_without_the_driver_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has not installed asyncpg reads what to install; the password is not shown."""
    for name in [name for name in sys.modules if "_dialects._postgresql" in name]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "asyncpg", None)
    monkeypatch.delattr(dialects, "_postgresql")

    with pytest.raises(MissingDriverError) as caught:
        await AlchemyCRUD("postgresql://user:secret@host/name").startup()

    assert str(caught.value).endswith('pip install "kapusta-sqlalchemy[postgresql]"')
    assert "secret" not in str(caught.value)


async def test_a_database_that_does_not_exist_is_named(postgres_url: str) -> None:
    """A wrong name cannot mend itself: the address is refused, and not tried again and again."""
    url = make_url(postgres_url).set(database="no_such_database")

    with pytest.raises(StoreUrlError, match=r'leads to no database: .*"no_such_database" does not exist'):
        await AlchemyCRUD(url).startup()


async def test_a_user_that_does_not_exist_is_turned_away(postgres_url: str) -> None:
    """Likewise a wrong user."""
    with pytest.raises(StoreUrlError, match=r'is turned away: .*"nobody_of_that_name"'):
        await AlchemyCRUD(make_url(postgres_url).set(username="nobody_of_that_name")).startup()


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    """Nobody listens: that may change, so the error is one after which one tries again."""
    crud = AlchemyCRUD(f"postgresql://user@127.0.0.1:{free_port()}/name")

    with pytest.raises(StoreUnavailableError, match="startup"):
        await crud.startup()


async def test_a_server_that_does_not_answer_is_given_up() -> None:
    """A socket that accepts and says nothing does not hold up a start for ever."""
    begun = perf_counter()
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        port = server.getsockname()[1]

        with pytest.raises(StoreUnavailableError, match="startup"):
            await AlchemyCRUD(f"postgresql://user@127.0.0.1:{port}/name?timeout=0.3").startup()

    assert perf_counter() - begun < 5


async def test_a_database_with_another_encoding_is_refused(postgres_url: str) -> None:
    """What cannot hold every text would lose an error's text, and with it the settlement."""
    url = make_url(postgres_url)
    name = f"{url.database}_latin"

    async def create(admin: asyncpg.Connection) -> None:
        await admin.execute(f"CREATE DATABASE \"{name}\" ENCODING LATIN1 LOCALE 'C' TEMPLATE template0")

    administer(url, create)
    try:
        with pytest.raises(StoreUrlError, match="encoding is LATIN1"):
            await AlchemyCRUD(url.set(database=name)).startup()
    finally:
        administer(url, lambda admin: admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'))


def test_an_old_server_is_refused(postgres_url: str) -> None:
    """Before version 12 a claim could take more than it has slots for."""
    with pytest.raises(StoreUrlError, match="PostgreSQL 11, which is too old"):
        check_server(make_url(postgres_url), version=110022, encoding="UTF8")


@pytest.mark.parametrize("value", ["off", "on", "local"])
async def test_a_server_that_forgets_is_warned_of(
    postgres_url: str, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    """`synchronous_commit=off` may lose what a launch has promised; the log says so, with the remedy."""
    url = make_url(postgres_url)
    administer(
        url, lambda admin: admin.execute(f'ALTER DATABASE "{url.database}" SET synchronous_commit = {value}')
    )
    try:
        with caplog.at_level(logging.WARNING, "kapusta"):
            crud = AlchemyCRUD(postgres_url)
            await crud.startup()
            await crud.shutdown()
    finally:
        administer(
            url, lambda admin: admin.execute(f'ALTER DATABASE "{url.database}" RESET synchronous_commit')
        )

    assert ("synchronous_commit=off" in caplog.text) is (value == "off")


async def test_a_read_only_server_is_no_outage_for_ever(
    store: AlchemyCRUD, admin: asyncpg.Connection, postgres_url: str
) -> None:
    """A replica, or what was a primary: a launch raises `StoreUnavailableError`; where it may write again, it works."""
    setting = f'ALTER DATABASE "{make_url(postgres_url).database}" SET default_transaction_read_only'
    crud = AlchemyCRUD(postgres_url)
    await admin.execute(f"{setting} = on")
    await crud.startup()
    with pytest.raises(StoreUnavailableError, match="read-only transaction"):
        await crud.add_tasks([new()])
    await admin.execute(f"{setting} = off")

    assert (await crud.add_tasks([new()]))[0].outcome == "new"
    await crud.shutdown()


async def test_a_pooler_can_be_told_of_in_the_address(postgres_url: str) -> None:
    """Without a cache of statements none is kept, and no setting is left in a session that others will have."""
    url = make_url(postgres_url).update_query_dict({"statement_cache_size": "0"})
    crud = AlchemyCRUD(url)
    await crud.startup()

    assert (await crud.add_tasks([new()]))[0].outcome == "new"
    assert crud._started is not None
    async with crud._started.engine.connect() as connection:
        shown = await connection.exec_driver_sql("SHOW enable_seqscan")
        assert shown.scalar_one() == "on"
    await crud.shutdown()


async def test_an_option_that_the_driver_does_not_know_is_named(postgres_url: str) -> None:
    """What stands behind the question mark goes to the driver; a misspelt word there is a wrong address."""
    with pytest.raises(StoreUrlError, match=r"'nonsense'.*Leave out") as caught:
        await AlchemyCRUD(f"{postgres_url}{'&' if '?' in postgres_url else '?'}nonsense=1").startup()

    assert caught.value.__cause__ is None
