from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from sqlalchemy import make_url

from kapusta_sqlalchemy import AlchemyCRUD
from tests.servers.mariadb import ask


@pytest.fixture
async def store(mysql_url: str) -> AsyncIterator[AlchemyCRUD]:
    """A started handle to an empty database."""
    crud = AlchemyCRUD(mysql_url)
    await crud.startup()
    yield crud
    await crud.shutdown()


@pytest.fixture
async def other(store: AlchemyCRUD, mysql_url: str) -> AsyncIterator[AlchemyCRUD]:
    """Another started handle to it."""
    crud = AlchemyCRUD(mysql_url)
    await crud.startup()
    yield crud
    await crud.shutdown()


@pytest.fixture
def lesser_url(mysql_url: str) -> Iterator[str]:
    """The URL for a user who may read and write rows in this database, and make nothing."""
    url = make_url(mysql_url)
    ask(mysql_url, "CREATE USER lesser IDENTIFIED BY 'secret'")
    ask(mysql_url, f"GRANT SELECT, INSERT, UPDATE, DELETE ON `{url.database}`.* TO lesser")
    yield url.set(username="lesser", password="secret").render_as_string(hide_password=False)
    ask(mysql_url, "DROP USER lesser")
