"""Which server it is: its version, and what follows from that."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass
from typing import Final

from sqlalchemy import URL, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection

from kapusta.backend import LogEvent, StoreUrlError, log_event

from ._trouble import code_of

OLDEST_MARIADB: Final = (10, 6)
OLDEST_MYSQL: Final = (8, 0)
"""The first versions with ``SKIP LOCKED``."""

_FACTS: Final = text(
    "SELECT VERSION(), DATABASE(), @@max_allowed_packet, @@innodb_flush_log_at_trx_commit, @@version_comment"
)
_SHOWN: Final = text("SELECT COUNT(*) FROM information_schema.schemata WHERE schema_name = :schema")
_CLUSTER: Final = text("SHOW VARIABLES LIKE 'wsrep_on'")
_log: Final = logging.getLogger("kapusta.sqlalchemy")


@dataclass(frozen=True)
class Server:
    """What `startup()` has found.

    Attributes:
        isolation: the variable that holds a session's isolation level.
        longest: the most bytes of one packet.
        is_cluster: whether it is a node of Galera.
    """

    isolation: str
    longest: int
    is_cluster: bool = False


async def look_at(connection: AsyncConnection, url: URL, schema: str | None) -> Server:
    """Ask the server who it is.

    Raises:
        StoreUrlError: this cannot be a store.
    """
    version, database, longest, flushes, comment = (await connection.execute(_FACTS)).one()
    is_mariadb = "mariadb" in f"{version} {comment}".lower()
    _check_version(version, is_mariadb, url)
    if database is None and schema is None:
        raise StoreUrlError(
            url=_shown(url), problem="names no database", remedy="Write it behind the host: /DATABASE."
        )
    if schema is not None and not await connection.scalar(_SHOWN, {"schema": schema}):
        raise StoreUrlError(
            url=_shown(url),
            problem=f"leads to a server that shows this user no database '{schema}', which schema= names",
            remedy="Create it first: CREATE DATABASE; or grant the user its rights.",
        )
    if flushes != 1:
        log_event(
            _log,
            LogEvent.store_not_durable,
            "%s may forget what it has committed when its machine fails: innodb_flush_log_at_trx_commit is %s, "
            "and only 1 keeps every task that launch() has returned",
            _shown(url),
            flushes,
        )
    is_cluster = (await connection.execute(_CLUSTER)).all() == [("wsrep_on", "ON")]
    # MariaDB has had the new name as well since 11.1; MySQL has dropped the old one.
    isolation = "tx_isolation" if is_mariadb else "transaction_isolation"
    return Server(isolation=isolation, longest=int(longest), is_cluster=is_cluster)


def _check_version(version: str, is_mariadb: bool, url: URL) -> None:
    """Refuse a server that lacks what the statements need."""
    name, oldest = ("MariaDB", OLDEST_MARIADB) if is_mariadb else ("MySQL", OLDEST_MYSQL)
    numbers = tuple(map(int, re.findall(r"\d+", version)[:2]))
    if numbers < oldest:
        raise StoreUrlError(
            url=_shown(url),
            problem=f"leads to {name} {version}, which is too old",
            remedy=f"It takes {name} {oldest[0]}.{oldest[1]} or newer.",
        )


def refused(error: DBAPIError, url: URL) -> StoreUrlError | None:
    """What to raise instead of *error*, if the server is there and will not have us."""
    remedies = {
        1044: "Grant the user this database.",
        1045: "Check the user and the password.",
        1049: "Create it first: CREATE DATABASE.",
        1698: "Check how the user may log in.",
    }
    remedy = remedies.get(code_of(error) or 0)
    if remedy is None or error.orig is None:
        return None
    return StoreUrlError(url=_shown(url), problem=f"is refused: {error.orig.args[-1]}", remedy=remedy)


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)
