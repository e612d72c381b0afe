"""What is looked at before a server is used."""

from __future__ import annotations

import logging
from typing import Final

import asyncpg
from asyncpg import Connection
from sqlalchemy import URL

from kapusta.backend import LogEvent, StoreUrlError, log_event

from ._trouble import code_of

OLDEST: Final = 120000
"""The first version, 12, in which a query can be kept from being merged into another."""

_SETTINGS: Final = """
SELECT current_setting('server_version_num')::integer, current_setting('server_encoding'), pg_is_in_recovery(),
       current_setting('synchronous_commit'), current_setting('fsync')
"""
_NO_NAME: Final = ("42601", "42939")
"""The name is empty, or reserved."""
_log: Final = logging.getLogger("kapusta")


async def prepare(connection: Connection, url: URL) -> None:
    """Check the server; what makes it forget is warned of.

    Raises:
        StoreUrlError: this cannot be a store.
    """
    [(version, encoding, is_standby, synchronous_commit, fsync)] = await connection.fetch(_SETTINGS)
    check_server(url, version=version, encoding=encoding)
    if is_standby:
        raise asyncpg.ReadOnlySQLTransactionError("the server is a standby, which takes no writes")
    for setting, value in (("synchronous_commit", synchronous_commit), ("fsync", fsync)):
        if value == "off":
            log_event(
                _log,
                LogEvent.store_not_durable,
                "The store %s has %s=off: after a crash of its server, tasks that were launched may be missing, "
                "and tasks that were settled may run again. Set it to 'on' for this database or role.",
                shown(url),
                setting,
            )


def check_server(url: URL, *, version: int, encoding: str) -> None:
    """Refuse a server that lacks what the statements need."""
    if version < OLDEST:
        raise StoreUrlError(
            url=shown(url),
            problem=f"leads to PostgreSQL {version // 10000}, which is too old",
            remedy=f"Use PostgreSQL {OLDEST // 10000} or newer.",
        )
    if encoding != "UTF8":
        raise StoreUrlError(
            url=shown(url),
            problem=f"leads to a database whose encoding is {encoding}, which cannot hold every text",
            remedy="Create another: CREATE DATABASE ... ENCODING 'UTF8' TEMPLATE template0.",
        )


def no_such_place(error: Exception, url: URL) -> StoreUrlError | None:
    """What to raise instead of *error*, if it says that the address is wrong."""
    match code_of(error):
        case "3D000":
            problem, remedy = f"leads to no database: {_said(error)}", "Create it, or name another."
        case "28000" | "28P01":
            problem, remedy = f"is turned away: {_said(error)}", "Mend the user or the password."
        case _:
            return None
    return StoreUrlError(url=shown(url), problem=problem, remedy=remedy)


def no_such_schema(error: Exception, url: URL, schema: str) -> StoreUrlError | None:
    """What to raise instead of *error*, if it says that no schema can be called *schema*."""
    if code_of(error) not in _NO_NAME:
        return None
    return StoreUrlError(
        url=shown(url),
        problem=f"comes with schema={schema!r}, which the server does not make: {_said(error).partition(chr(10))[0]}",
        remedy="Choose another name, or leave schema= out.",
    )


def _said(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).rpartition(">: ")[2]


def shown(url: URL) -> str:
    """The URL for people."""
    return url.render_as_string(hide_password=True)
