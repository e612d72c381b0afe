"""The file: read and replaced as a whole, by one handle at a time."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from kapusta.backend import StoredTask, StoreUnavailableError, StoreUrlError, from_json, rules, to_json

_PAUSE: Final = 0.005  # seconds; a handle that writes has the lock for about as long
_TRIES: Final = 1000


@dataclass
class Book:
    """All that is stored."""

    tasks: dict[int, StoredTask] = field(default_factory=dict)
    keys: dict[str, rules.KeyUse] = field(default_factory=dict)


@asynccontextmanager
async def open_book(path: Path, *, create: bool = False) -> AsyncIterator[Book]:
    """The stored book; what the block makes of it is stored when it ends well, and else nothing is.

    The block must not await: an operation can then be cancelled while it waits for the lock, and never half
    way. So the file is written on the event loop, which stands still for the few milliseconds. In a thread the
    writing would go on after its caller was cancelled; and the pool of threads belongs to the application,
    which may fill it for longer than a lease lasts.
    """
    try:
        # The lock has a file of its own: the other one is replaced, and a lock on it would go with it.
        with _beside(path, ".lock").open("w") as lock:  # closing it unlocks
            await _get(lock)
            book, before = _read(path, create=create)
            yield book
            after = to_json(book)
            if after != before:
                _replace(path, after)
    except OSError as error:
        raise StoreUnavailableError(operation=f"work on {path}", problem=str(error)) from error


async def _get(lock: IO[str]) -> None:
    for attempt in range(_TRIES):
        # Others hold the lock in real time, even where a test moves the clock of this store.
        await asyncio.sleep(_PAUSE if attempt else 0)
        with suppress(BlockingIOError):
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    raise TimeoutError(f"another process has had the lock for {_TRIES * _PAUSE:g} seconds")


def _read(path: Path, *, create: bool) -> tuple[Book, bytes]:
    if create and not path.exists():
        return Book(), b""
    content = path.read_bytes()
    try:
        return from_json(content, Book), content
    except ValueError as error:
        problem, remedy = f"leads to something else: {error}", "Choose another path."
        raise StoreUrlError(url=str(path), problem=problem, remedy=remedy) from error


def _replace(path: Path, content: bytes) -> None:
    new = _beside(path, ".new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # or a power cut may bring the old file back
    finally:
        os.close(folder)


def _beside(path: Path, ending: str) -> Path:
    return path.with_name(path.name + ending)
