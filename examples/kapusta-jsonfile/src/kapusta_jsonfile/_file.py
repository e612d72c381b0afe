"""One JSON file: read and replaced as a whole, by one handle at a time."""

import asyncio
import fcntl
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from kapusta.backend import StoredTask, StoreUnavailableError, UniqueUntil, from_json, to_json

_TRIES, _PAUSE = 500, 0.01


@dataclass
class KeyUse:
    """Who took a unique key last, and on what terms."""

    task: int
    until: UniqueUntil
    ends: datetime | None


@dataclass
class Book:
    """All that the file holds."""

    tasks: dict[int, StoredTask] = field(default_factory=dict)
    keys: dict[str, KeyUse] = field(default_factory=dict)


@asynccontextmanager
async def open_book(path: Path, *, create: bool = False) -> AsyncIterator[Book]:
    """The file's content, alone; what it has become when the block ends well is what the file holds.

    The block must not await: nothing can then be cancelled half way.
    """
    try:
        lock = await _locked(path)
        try:
            before = to_json(Book()) if create and not path.exists() else path.read_bytes()
            book = from_json(before, Book)
            yield book
            after = to_json(book)
            if after != before or not path.exists():
                _replace(path, after)
        finally:
            os.close(lock)
    except OSError as error:
        raise StoreUnavailableError(operation=str(path), problem=str(error)) from error


async def _locked(path: Path) -> int:
    lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT)
    for _ in range(_TRIES):
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return lock
        except BlockingIOError:
            await asyncio.sleep(_PAUSE)
    os.close(lock)
    raise TimeoutError


def _replace(path: Path, content: bytes) -> None:
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)
