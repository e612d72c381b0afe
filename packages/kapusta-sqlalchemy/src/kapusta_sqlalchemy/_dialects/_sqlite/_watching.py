"""Other handles' commits, noticed by a number that SQLite keeps."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from kapusta.backend import LogEvent, SystemClock, WakeKind, log_event

from ._file import identity
from ._sql import Sql

PERIOD: Final = 0.05
"""Seconds between two looks."""

_CANCELS: Final = "SELECT id, run FROM {task_name} WHERE status = 'started' AND cancel_requested"

# Other processes live in real time, whatever clock a test moves here.
_clock: Final = SystemClock()
_log: Final = logging.getLogger("kapusta.sqlalchemy")


@asynccontextmanager
async def watching(path: Path, sql: Sql, wake: Callable[[WakeKind], None]) -> AsyncIterator[None]:
    """While entered, look for commits to the database at *path*, whoever made them.

    Looking changes nothing that another look could see, so an idle process stays idle.
    """
    task = asyncio.create_task(_Watch(path, sql, wake).go_on())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


class _Watch:
    """One listener's look at whatever file is at the path."""

    def __init__(self, path: Path, sql: Sql, wake: Callable[[WakeKind], None]) -> None:
        self._path, self._wake = path, wake
        self._cancels_text = sql.fill(_CANCELS)
        self._cancels: set[tuple[int, int]] = set()

    async def go_on(self) -> None:
        while True:
            which = identity(self._path)
            if which is not None:
                try:
                    with closing(_open(self._path)) as connection:
                        await self._look(connection, which)
                except sqlite3.Error as error:  # operations fail too, then, and say so to those who wait
                    what = "%s cannot be watched now: %s"
                    log_event(_log, LogEvent.watch_failed, what, self._path, error)
            await _clock.sleep(PERIOD)

    async def _look(self, connection: sqlite3.Connection, which: tuple[int, int]) -> None:
        """Look until another file is at the path."""
        seen = None
        while identity(self._path) == which:
            version = connection.execute("PRAGMA data_version").fetchone()
            if version != seen:
                seen = version
                self._tell(connection)
            await _clock.sleep(PERIOD)

    def _tell(self, connection: sqlite3.Connection) -> None:
        self._wake("work")
        self._wake("settled")
        # A worker answers this one by renewing its leases, which others would notice in their turn, for ever:
        # so each request is told of once.
        cancels = set(connection.execute(self._cancels_text).fetchall())
        if cancels - self._cancels:
            self._wake("cancel")
        self._cancels = cancels


def _open(path: Path) -> sqlite3.Connection:
    """A connection that can neither write nor create the file, and waits for nobody: this is a loop's thread."""
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=0, isolation_level=None)
