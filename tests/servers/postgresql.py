"""A throw-away PostgreSQL for the tests: the fixtures ``postgres_server`` and ``postgres_url``.

``KAPUSTA_TEST_POSTGRES_URL`` names a server to use instead; its user needs the right to create databases.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import subprocess
import threading
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import URL, make_url

from tests.servers.owned import OwnedServer, binary, free_port, missing

if TYPE_CHECKING:
    import asyncpg

VARIABLE = "KAPUSTA_TEST_POSTGRES_URL"


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[URL]:
    """The address of a database that belongs to this run of the tests; its user may do everything."""
    given = os.environ.get(VARIABLE)
    server = None if given else start_postgresql()
    address = make_url(given) if given else server[1] if server else None
    assert address is not None
    name = f"kapusta_test_{secrets.token_hex(4)}"
    administer(
        address, lambda admin: admin.execute(f'CREATE DATABASE "{name}" ENCODING UTF8 TEMPLATE template0')
    )
    yield address.set(drivername="postgresql+asyncpg", database=name)
    administer(address, lambda admin: admin.execute(f'DROP DATABASE "{name}" WITH (FORCE)'))
    if server:
        server[0].stop()


@pytest.fixture
def postgres_url(postgres_server: URL) -> str:
    """The URL of an empty database. Whoever was still connected to it is not any more."""
    administer(postgres_server, _empty)
    return postgres_server.render_as_string(hide_password=False)


def administer(address: URL, work: Callable[[asyncpg.Connection], Coroutine[Any, Any, Any]]) -> Any:
    """Do *work* with a connection of its own, also from within a running loop."""
    import asyncpg

    async def connected() -> Any:
        connection = await asyncpg.connect(
            host=address.host,
            port=address.port,
            user=address.username,
            password=address.password,
            database=address.database,
        )
        try:
            return await work(connection)
        finally:
            await connection.close()

    answer: list[Any] = []
    thread = threading.Thread(target=lambda: answer.append(asyncio.run(connected())))
    thread.start()
    thread.join()
    if not answer:
        raise RuntimeError("the database could not be prepared; the reason was printed above")
    return answer[0]


async def _empty(admin: asyncpg.Connection) -> None:
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    schemas = await admin.fetch(
        "SELECT quote_ident(nspname) FROM pg_namespace WHERE nspname !~ '^pg_' AND nspname <> 'information_schema'"
    )
    for (schema,) in schemas:
        await admin.execute(f"DROP SCHEMA {schema} CASCADE")
    await admin.execute("CREATE SCHEMA public; GRANT ALL ON SCHEMA public TO PUBLIC")


def start_postgresql(**others: object) -> tuple[OwnedServer, URL]:
    """Start a server; answer it, and the address of a database in it. *others*: settings in place of these."""
    folders = program_folders()
    postgres, initdb = binary("postgres", folders), binary("initdb", folders)
    if postgres is None or initdb is None:
        remedy = f"install it (Debian: apt-get install postgresql; macOS: brew install postgresql) or set {VARIABLE}"
        missing("PostgreSQL", remedy=remedy)
    server = OwnedServer("pg", users=["postgres"])
    data, port = server.folder / "data", free_port()
    server.run(initdb, "-D", data, "-U", "kapusta", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
    settings: dict[str, object] = {
        "listen_addresses": "127.0.0.1",
        "port": port,
        "unix_socket_directories": server.folder,
        "max_connections": 200,
        "shared_buffers": "64MB",
        "log_min_messages": "warning",
        "max_prepared_transactions": 10,
        **others,
    }
    words = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
    server.start(postgres, "-D", data, *words, ending="SIGINT", ready=lambda: is_ready(data))
    url = URL.create("postgresql", username="kapusta", host="127.0.0.1", port=port, database="postgres")
    return server, url


def is_ready(data: Path) -> bool:
    """What the server itself writes down for those who wait."""
    path = data / "postmaster.pid"
    return path.exists() and path.read_text().rstrip().endswith("ready")


def program_folders() -> list[Path]:
    """Where distributions keep the server's programs, the newest version first."""
    folders = []
    if config := shutil.which("pg_config"):
        said = subprocess.run([config, "--bindir"], capture_output=True, text=True, check=False)
        folders.append(Path(said.stdout.strip()))
    versions = Path("/usr/lib/postgresql").glob("*/bin")
    folders += sorted(versions, key=lambda path: float(path.parent.name), reverse=True)
    return folders
