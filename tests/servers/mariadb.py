"""A throw-away MariaDB for the tests: the fixtures ``mysql_server`` and ``mysql_url``.

``KAPUSTA_TEST_MYSQL_URL`` names a server to use instead, MariaDB or MySQL; its user needs the right to create
databases and users.
"""

from __future__ import annotations

import itertools
import os
import secrets
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import pymysql
import pytest
from pymysql.constants import CLIENT
from sqlalchemy import URL, make_url

from tests.servers.owned import OwnedServer, answers, binary, free_port, missing

VARIABLE = "KAPUSTA_TEST_MYSQL_URL"

_numbers = itertools.count(1)
_session = secrets.token_hex(4)


@pytest.fixture(scope="session")
def mysql_server() -> Iterator[URL]:
    """The address of a server that belongs to this run of the tests; its user may do everything."""
    if given := os.environ.get(VARIABLE):
        yield make_url(given)
        return
    server, address = start_mariadb()
    yield address
    server.stop()


@pytest.fixture
def mysql_url(mysql_server: URL) -> Iterator[str]:
    """The URL of an empty database."""
    name = f"kapusta_test_{_session}_{next(_numbers)}"
    ask(mysql_server, f"CREATE DATABASE {name}")
    url = mysql_server.set(drivername=f"{mysql_server.get_backend_name()}+aiomysql", database=name)
    yield url.render_as_string(hide_password=False)
    # Whoever is still connected would hold up the end.
    for (id,) in ask(mysql_server, "SELECT id FROM information_schema.processlist WHERE db = %s", [name]):
        try:
            ask(mysql_server, f"KILL {id}")
        except pymysql.err.OperationalError as error:
            if error.args[0] != 1094:  # it has gone by itself
                raise
    ask(mysql_server, f"DROP DATABASE {name}")


def connect(address: URL | str, **settings: Any) -> pymysql.Connection[Any]:
    """A connection that knows nothing of Kapusta, in autocommit."""
    url = make_url(address)
    return pymysql.connect(
        host=url.host or "127.0.0.1",
        port=url.port or 3306,
        user=url.username,
        password=url.password or "",
        database=url.database,
        charset="utf8mb4",
        autocommit=True,
        client_flag=CLIENT.MULTI_STATEMENTS,
        **settings,
    )


def ask(address: URL | str, text: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """The rows of a statement, by a connection of its own."""
    with closing(connect(address)) as connection, connection.cursor() as cursor:
        cursor.execute(text, parameters or None)
        return list(cursor.fetchall())


def start_mariadb(*others: str) -> tuple[OwnedServer, URL]:
    """Start a server; answer it and its address. On another port if somebody took the first one meanwhile.

    *others*: further options, which take precedence.
    """
    for _ in range(2):
        try:
            return _start(others)
        except RuntimeError as error:
            if "port" not in str(error).lower():
                raise
    return _start(others)


def _start(others: Sequence[str]) -> tuple[OwnedServer, URL]:
    folders = [
        Path(folder) for folder in ("/usr/sbin", "/usr/local/bin", "/opt/homebrew/bin", "/usr/libexec")
    ]
    mariadbd, install = binary("mariadbd", folders), binary("mariadb-install-db", folders)
    if mariadbd is None or install is None:
        remedy = f"install it (Debian: apt-get install mariadb-server; macOS: brew install mariadb) or set {VARIABLE}"
        missing("MariaDB", remedy=remedy)
    server = OwnedServer("maria", users=["mysql"])
    data, port = server.folder / "data", free_port()
    server.run(
        install,
        "--no-defaults",
        f"--datadir={data}",
        "--auth-root-authentication-method=normal",
        "--skip-test-db",
        "--innodb-flush-method=nosync",
    )
    server.start(
        mariadbd,
        "--no-defaults",
        f"--datadir={data}",
        f"--socket={server.folder / 'socket'}",
        f"--pid-file={server.folder / 'pid'}",
        f"--port={port}",
        "--bind-address=127.0.0.1",
        "--innodb-flush-method=nosync",  # what a machine that fails would lose is no matter here
        "--innodb-buffer-pool-size=64M",
        "--max-connections=200",
        "--skip-name-resolve",
        *others,
        ending="SIGTERM",
        # Somebody else may listen there; the file is written by a server that has got the port.
        ready=lambda: (server.folder / "pid").exists() and answers(port),
    )
    return server, URL.create("mysql", username="root", host="127.0.0.1", port=port)
