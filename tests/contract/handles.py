"""What the contract's fixtures give for our own backends."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import make_url

from kapusta.backend import Clock
from kapusta.testing import OpenBackend, Server
from kapusta_memory import MemoryCRUD
from kapusta_sqlalchemy import AlchemyCRUD


def handles_to_one_store(
    backend: type[MemoryCRUD] = MemoryCRUD, *, beside: MemoryCRUD | None = None
) -> OpenBackend:
    """Return a callable that gives handles to one store in memory: that of *beside*, or a new one."""
    storage = (beside or backend()).storage

    def open_backend(clock: Clock) -> MemoryCRUD:
        handle = backend(clock=clock)
        handle.storage = storage
        return handle

    return open_backend


def server_behind(url: str, crud: type[AlchemyCRUD] = AlchemyCRUD, **options: Any) -> Server:
    """Return where the server of a database listens, for handles that go there by another port."""
    address = make_url(url)

    def open_through(port: int, clock: Clock) -> AlchemyCRUD:
        return crud(address.set(host="127.0.0.1", port=port), clock=clock, **options)

    assert address.port is not None
    return Server(host=address.host or "127.0.0.1", port=address.port, open_through=open_through)


@contextmanager
def renamed(path: Path) -> Iterator[None]:
    """Give a file or folder another name, and its own name back."""
    aside = path.rename(path.with_name(f"{path.name}.aside"))
    try:
        yield
    finally:
        aside.rename(path)
