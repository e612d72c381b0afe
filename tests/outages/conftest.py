"""A database behind a network that fails when a test tells it to."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import make_url

from kapusta import Kapusta
from kapusta.testing import Proxy
from kapusta_sqlalchemy import AlchemyCRUD

DATABASES = ("postgres_url", "mysql_url")

MakeKapusta = Callable[..., Kapusta]
OpenStore = Callable[[str], Awaitable[AlchemyCRUD]]


@dataclass(frozen=True)
class Network:
    """A network with a database at its end.

    Attributes:
        proxy: what it does.
        url: the database, over this network.
        direct: the same database, over another one.
    """

    proxy: Proxy
    url: str
    direct: str


@asynccontextmanager
async def network_to(direct: str) -> AsyncIterator[Network]:
    """A network that works, with the database of this URL at its end."""
    url = make_url(direct)
    async with Proxy(url.host or "127.0.0.1", url.port or 0) as proxy:
        through = url.set(host="127.0.0.1", port=proxy.port).render_as_string(hide_password=False)
        yield Network(proxy, through, direct)


@pytest.fixture(params=DATABASES)
async def network(request: pytest.FixtureRequest) -> AsyncIterator[Network]:
    """An empty database, at the end of a network that works."""
    async with network_to(request.getfixturevalue(request.param)) as network:
        yield network


@pytest.fixture
async def postgres_network(postgres_url: str) -> AsyncIterator[Network]:
    """The same, with PostgreSQL."""
    async with network_to(postgres_url) as network:
        yield network


@pytest.fixture
async def open_store() -> AsyncIterator[OpenStore]:
    """A callable that opens a handle to a URL."""
    stores: list[AlchemyCRUD] = []

    async def open_store(url: str) -> AlchemyCRUD:
        store = AlchemyCRUD(url)
        stores.append(store)
        await store.startup()
        return store

    yield open_store
    for store in stores:
        await store.shutdown()


@pytest.fixture
async def make_kapusta() -> AsyncIterator[MakeKapusta]:
    """A callable that makes a Kapusta, which is shut down after the test."""
    made: list[Kapusta] = []

    def make_kapusta(url: str, **options: Any) -> Kapusta:
        made.append(Kapusta(url, **options))
        return made[-1]

    yield make_kapusta
    for kapusta in made:
        await kapusta.shutdown()
