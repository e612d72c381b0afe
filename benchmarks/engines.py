"""The engines: servers of this run's own, as durable as in production, and a fresh database for each measurement."""

from __future__ import annotations

import itertools
import sqlite3
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol

if TYPE_CHECKING:
    from sqlalchemy import URL

    from tests.servers.owned import OwnedServer

POSTGRESQL: Final = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "max_connections": 300,
}
MARIADB: Final = (
    "--innodb-flush-method=fsync",
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-doublewrite=ON",
    "--innodb-buffer-pool-size=512M",
    "--innodb-log-file-size=512M",
)


class Engine(Protocol):
    """A database server, or what takes its place.

    Attributes:
        about: version and settings, for the report.
    """

    about: str

    def fresh(self) -> str:
        """Return the URL of an empty database."""

    def drop(self, url: str) -> None:
        """Delete a database that is not needed any more; contestants have disconnected."""

    def calm(self, url: str) -> None:
        """Do now what the server would do at some time: write out, and renew the statistics of this database."""

    def transactions(self, url: str) -> int | None:
        """Return the number of transactions in this database so far; ``None`` where the engine does not count them."""

    def stop(self) -> None:
        """Stop the server, and delete its data."""


class PostgreSQL:
    """A server of this run's own."""

    def __init__(self) -> None:
        from tests.servers.postgresql import start_postgresql

        self._server: OwnedServer
        self._address: URL
        self._server, self._address = start_postgresql(**POSTGRESQL)
        self._numbers = itertools.count(1)
        version = self._ask("SHOW server_version")[0][0]
        settings = ", ".join(f"{name}={value}" for name, value in POSTGRESQL.items())
        self.about = f"{version}; {settings}"

    def fresh(self) -> str:
        """Create a database."""
        name = f"bench_{next(self._numbers)}"
        self._ask(f"CREATE DATABASE {name} TEMPLATE template0")
        return f"postgresql://{self._address.username}@{self._address.host}:{self._address.port}/{name}"

    def drop(self, url: str) -> None:
        """Drop it."""
        self._ask(f"DROP DATABASE {url.rpartition('/')[2]} WITH (FORCE)")

    def calm(self, url: str) -> None:
        """Do what autovacuum and the checkpointer would."""
        self._ask("VACUUM ANALYZE", database=url.rpartition("/")[2])
        self._ask("CHECKPOINT")

    def transactions(self, url: str) -> int | None:
        """Ask the statistics."""
        text = "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = $1"
        return int(self._ask(text, url.rpartition("/")[2])[0][0])

    def stop(self) -> None:
        """Stop the server."""
        self._server.stop()

    def _ask(self, text: str, *values: object, database: str = "postgres") -> Any:
        from tests.servers.postgresql import administer

        address = self._address.set(database=database)
        return administer(address, lambda connection: connection.fetch(text, *values))


class MariaDB:
    """A server of this run's own."""

    def __init__(self) -> None:
        from tests.servers.mariadb import ask, start_mariadb

        self._ask = ask
        self._server: OwnedServer
        self._address: URL
        self._server, self._address = start_mariadb(*MARIADB)
        self._numbers = itertools.count(1)
        version = ask(self._address, "SELECT VERSION()")[0][0]
        self.about = f"{version}; {' '.join(MARIADB)}"

    def fresh(self) -> str:
        """Create a database."""
        name = f"bench_{next(self._numbers)}"
        self._ask(self._address, f"CREATE DATABASE {name}")
        return f"mysql://{self._address.username}@{self._address.host}:{self._address.port}/{name}"

    def drop(self, url: str) -> None:
        """Drop it."""
        self._ask(self._address, f"DROP DATABASE {url.rpartition('/')[2]}")

    def calm(self, url: str) -> None:
        """Leave it to the server, which writes back all the time."""

    def transactions(self, url: str) -> int | None:
        """Return the number of statements in all databases: an upper bound."""
        return int(self._ask(self._address, "SHOW GLOBAL STATUS LIKE 'Questions'")[0][1])

    def stop(self) -> None:
        """Stop the server."""
        self._server.stop()


class SQLite:
    """A folder; a fresh database is a new file."""

    def __init__(self) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="kapusta-bench-")
        self._numbers = itertools.count(1)
        self.about = f"{sqlite3.sqlite_version}, a file"

    def fresh(self) -> str:
        """Name a file."""
        return f"sqlite:///{self._folder.name}/{next(self._numbers)}.db"

    def drop(self, url: str) -> None:
        """Delete the file."""
        for suffix in ("", "-wal", "-shm"):
            Path(url.removeprefix("sqlite:///") + suffix).unlink(missing_ok=True)

    def calm(self, url: str) -> None:
        """Nothing is left to be written."""

    def transactions(self, url: str) -> int | None:
        """SQLite does not count them."""
        return None

    def stop(self) -> None:
        """Delete the folder."""
        self._folder.cleanup()


class Memory:
    """No engine: each contestant keeps its tasks in its own process."""

    about = "each contestant's own process"

    def fresh(self) -> str:
        """Return the only address."""
        return "memory://"

    def drop(self, url: str) -> None:
        """Nothing is stored."""

    def calm(self, url: str) -> None:
        """Nothing is left to be written."""

    def transactions(self, url: str) -> int | None:
        """There are none."""
        return None

    def stop(self) -> None:
        """Nothing was started."""


START: Final[dict[str, Callable[[], Engine]]] = {
    "postgresql": PostgreSQL,
    "sqlite": SQLite,
    "mariadb": MariaDB,
    "memory": Memory,
}
