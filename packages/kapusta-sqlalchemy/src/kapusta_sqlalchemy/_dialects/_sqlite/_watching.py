"""Other handles' commits, noticed by a number that SQLite keeps."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing, suppress
from pathlib import Path
from typing import Final
from urllib.parse import quote

from kapusta.backend import SystemClock, WakeKind

from ._file import identity

PERIOD: Final = 0.05
"""Seconds between two looks."""

# Other processes live in real time, whatever clock a test moves here.
_clock: Final = SystemClock()


@asynccontextmanager
async def watching(path: Path, wake: Callable[[WakeKind], None]) -> AsyncIterator[None]:
    """While entered, look for commits to the database at *path*, whoever made them.

    Looking changes nothing that another look could see, so an idle process stays idle.
    """
    task = asyncio.ensure_future(_watch(path, wake))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def _watch(path: Path, wake: Callable[[WakeKind], None]) -> None:
    """Look for ever, at whatever file is at the path."""
    while True:
        which = identity(path)
        if which is not None:
            with suppress(sqlite3.Error), closing(_open(path)) as connection:
                await _watch_file(connection, path, which, wake)
            _tell(wake)
        await _clock.sleep(PERIOD)


async def _watch_file(
    connection: sqlite3.Connection, path: Path, which: tuple[int, int], wake: Callable[[WakeKind], None]
) -> None:
    """Look until another file is at the path; an error of SQLite ends it too."""
    look = connection.cursor()
    last = look.execute("PRAGMA data_version").fetchone()
    while identity(path) == which:
        await _clock.sleep(PERIOD)
        version = look.execute("PRAGMA data_version").fetchone()
        if version != last:
            last = version
            _tell(wake)


def _tell(wake: Callable[[WakeKind], None]) -> None:
    wake("work")
    wake("settled")


def _open(path: Path) -> sqlite3.Connection:
    """A connection that can neither write nor create the file, and waits for nobody: this is a loop's thread."""
    return sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=0, isolation_level=None)
