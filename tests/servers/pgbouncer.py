"""A throw-away PgBouncer in front of the PostgreSQL of the tests: ``pgbouncer_url`` and ``session_pooler_url``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import make_url

from tests.servers.owned import OwnedServer, answers, binary, free_port, missing

_CONFIGURATION = """
[databases]
{database}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 200
ignore_startup_parameters = extra_float_digits
server_lifetime = 60
"""

SERVER_CONNECTIONS = 3
"""Fewer than a worker has of its own: so they are shared indeed."""


@pytest.fixture
def pgbouncer_url(postgres_url: str) -> Iterator[str]:
    """The URL of an empty database, by way of a pooler that hands out a connection for each transaction."""
    with _in_front_of(postgres_url, mode="transaction", size=SERVER_CONNECTIONS) as url:
        yield url


@pytest.fixture
def session_pooler_url(postgres_url: str) -> Iterator[str]:
    """The same, by way of one that hands it out until the client goes."""
    with _in_front_of(postgres_url, mode="session", size=50) as url:
        yield url


@contextmanager
def _in_front_of(url: str, *, mode: str, size: int) -> Iterator[str]:
    """A pooler."""
    program = binary("pgbouncer", [Path("/usr/sbin"), Path("/usr/local/sbin"), Path("/opt/homebrew/bin")])
    if program is None:
        missing("PgBouncer", remedy="install it (Debian: apt-get install pgbouncer)")
    behind = make_url(url)
    server, port = OwnedServer("bouncer", users=["postgres"]), free_port()
    user = f"user={behind.username}" + (f" password={behind.password}" if behind.password else "")
    text = _CONFIGURATION.format(
        database=f"{behind.database} = host={behind.host} port={behind.port or 5432} dbname={behind.database} {user}",
        port=port,
        mode=mode,
        size=size,
    )
    configuration = server.folder / "pgbouncer.ini"
    configuration.write_text(text)
    try:
        server.start(program, configuration, ending="SIGINT", ready=lambda: answers(port))
        yield behind.set(host="127.0.0.1", port=port).render_as_string(hide_password=False)
    finally:
        server.stop()
