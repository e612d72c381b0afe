"""One migration at a time: what is said and done while it is another process's turn."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from sqlalchemy import URL

from kapusta.backend import LogEvent, log_event

QUIET_SECONDS: Final = 2.0
"""Where many processes start at once, most of them wait so long, and there is nothing to be said about it."""
SECONDS: Final = 30.0
"""How long a startup waits after that: a cancelled one is waited for, so not for ever."""

_log: Final = logging.getLogger("kapusta.sqlalchemy")


class MigratingError(Exception):
    """Another process migrates, and did not end before our patience did."""


async def take_turn(
    url: URL, lock: Callable[[float], Awaitable[bool]], holder: Callable[[], Awaitable[object]]
) -> None:
    """Take the lock of migrations.

    Args:
        url: of the store, for the log.
        lock: takes it, and says whether it could within so many seconds.
        holder: who has it, in the server's words.

    Raises:
        MigratingError: somebody has had it for too long.
    """
    if await lock(QUIET_SECONDS):
        return
    who = await holder()
    log_event(
        _log,
        LogEvent.migration_waiting,
        "%s: waiting for another process, which migrates the tables (connection %s of the server), %g s at most",
        url.render_as_string(hide_password=True),
        who,
        SECONDS,
    )
    if not await lock(SECONDS):
        waited = QUIET_SECONDS + SECONDS
        raise MigratingError(
            f"another process has been migrating the tables for more than {waited:g} s (connection {who} of "
            "the server)"
        )
