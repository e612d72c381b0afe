"""The three databases, each as a run needs it: an address for everybody, and a way to crash it."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pymysql
from sqlalchemy import URL

from tests.servers.mariadb import ask, start_mariadb
from tests.servers.owned import OwnedServer
from tests.servers.postgresql import start_postgresql

CRASH: Final = {"postgresql": signal.SIGQUIT, "mariadb": signal.SIGKILL}
"""SIGQUIT is what `pg_ctl restart -m immediate` sends: PostgreSQL's processes quit as they are, and it recovers."""


class Engine:
    """A database of this run.

    Attributes:
        name: which one.
        server: its server; ``None``: it is a file.
        address: where it is, without anything in between.
    """

    def __init__(self, name: str, address: URL, server: OwnedServer | None) -> None:
        self.name, self.address, self.server = name, address, server

    @property
    def url(self) -> str:
        """The address as a text."""
        return self.address.render_as_string(hide_password=False)

    def url_at(self, port: int) -> str:
        """The same database through a port of this machine."""
        return self.address.set(port=port).render_as_string(hide_password=False)

    async def restart(self) -> None:
        """Crash it, and return when it serves again."""
        await self.crash()
        await self.recover()

    async def crash(self) -> None:
        """Crash it, and return when it is gone."""
        assert self.server is not None
        await asyncio.to_thread(self.server.crash, CRASH[self.name])

    async def recover(self) -> None:
        """Start it again after a crash, and return when it serves."""
        assert self.server is not None
        left = [self.server.folder / "data" / "postmaster.pid", self.server.folder / "pid"]
        await asyncio.to_thread(self.server.start_again, *left)

    def stop(self) -> None:
        """End it."""
        if self.server is not None:
            self.server.stop()


def _sqlite(folder: Path) -> Engine:
    return Engine("sqlite", URL.create("sqlite+aiosqlite", database=str(folder / "tasks.db")), None)


def _postgresql(folder: Path) -> Engine:
    server, address = start_postgresql()
    return Engine("postgresql", address.set(drivername="postgresql+asyncpg"), server)


def _mariadb(folder: Path) -> Engine:
    server, address = start_mariadb()
    try:
        ask(address, "CREATE DATABASE kapusta_chaos")
    except pymysql.Error:
        server.stop()
        raise
    return Engine("mariadb", address.set(drivername="mysql+aiomysql", database="kapusta_chaos"), server)


ENGINES: Final[dict[str, Callable[[Path], Engine]]] = {
    "sqlite": _sqlite,
    "postgresql": _postgresql,
    "mariadb": _mariadb,
}
"""How to start each; blocking."""
