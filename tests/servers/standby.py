"""A throw-away PostgreSQL with a synchronous standby: the fixture ``pair``."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import URL

from tests.servers.owned import OwnedServer, binary, free_port, missing
from tests.servers.postgresql import administer, is_ready, program_folders

_NAME = "standby"


class Half:
    """One of the two servers."""

    def __init__(self, name: str) -> None:
        self.server = OwnedServer(name, users=["postgres"])
        self.data = self.server.folder / "data"
        self.port = free_port()
        self.address = URL.create(
            "postgresql", username="kapusta", host="127.0.0.1", port=self.port, database="postgres"
        )

    def start(self, postgres: Path, **settings: Any) -> None:
        """Start it, and return when it takes connections."""
        settings |= {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.server.folder,
            "shared_buffers": "32MB",
            "log_min_messages": "warning",
        }
        words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self.server.start(
            postgres, "-D", self.data, *words, ending="SIGINT", ready=lambda: is_ready(self.data)
        )

    def ask(self, question: str) -> Any:
        """One value."""
        return administer(self.address, lambda connection: connection.fetchval(question))


class Pair:
    """A primary that acknowledges nothing that its standby does not have."""

    def __init__(self, primary: Half, standby: Half) -> None:
        self.primary, self.standby = primary, standby

    @property
    def url(self) -> str:
        """The URL of both: of whichever of them takes writes."""
        hosts = [f"127.0.0.1:{half.port}" for half in (self.primary, self.standby)]
        address = URL.create(
            "postgresql+asyncpg",
            username="kapusta",
            database="postgres",
            query={"host": hosts, "target_session_attrs": "read-write"},
        )
        return address.render_as_string(hide_password=False)

    @property
    def is_in_step(self) -> bool:
        """Whether the primary waits for the standby."""
        return bool(self.primary.ask("SELECT sync_state = 'sync' FROM pg_stat_replication"))

    def fall_behind(self) -> None:
        """From now on the primary waits for nobody, and the standby hears nothing more of it."""
        for half, setting in (
            (self.primary, "synchronous_standby_names"),
            (self.standby, "primary_conninfo"),
        ):
            half.ask(f"ALTER SYSTEM SET {setting} = ''")
            half.ask("SELECT pg_reload_conf()")

    @property
    def is_apart(self) -> bool:
        """Whether they do not speak any more."""
        return not self.primary.ask("SELECT count(*) FROM pg_stat_replication")

    def promote(self) -> None:
        """Make the standby a primary, and return when it is one."""
        assert self.standby.ask("SELECT pg_promote()")

    def kill_primary(self) -> None:
        """End it in the middle of whatever it does."""
        self.primary.server.crash(signal.SIGQUIT)

    def stop(self) -> None:
        """End both."""
        self.standby.server.stop()
        self.primary.server.stop()


@pytest.fixture
def pair() -> Iterator[Pair]:
    """Two servers that belong to this test."""
    folders = program_folders()
    postgres, initdb, copy = (binary(name, folders) for name in ("postgres", "initdb", "pg_basebackup"))
    if postgres is None or initdb is None or copy is None:
        missing("PostgreSQL", remedy="install it (Debian: apt-get install postgresql)")
    primary, standby = Half("primary"), Half(_NAME)
    pair = Pair(primary, standby)
    try:
        primary.server.run(
            initdb,
            "-D",
            primary.data,
            "-U",
            "kapusta",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        )
        (primary.data / "postgresql.auto.conf").write_text(f"synchronous_standby_names = '{_NAME}'\n")
        primary.start(postgres)
        source = f"host=127.0.0.1 port={primary.port} user=kapusta application_name={_NAME}"
        standby.server.run(
            copy, "-d", source, "-D", standby.data, "-R", "-X", "stream", "--checkpoint=fast", "--no-sync"
        )
        (standby.data / "postmaster.pid").unlink(missing_ok=True)
        standby.start(postgres, synchronous_standby_names="")  # it has no standby of its own
        yield pair
    finally:
        pair.stop()
