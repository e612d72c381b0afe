"""What the contract's fixture gives for the memory backend."""

from __future__ import annotations

from kapusta.backend import Clock
from kapusta.testing import OpenBackend
from kapusta_memory import MemoryCRUD


def handles_to_one_store(backend: type[MemoryCRUD] = MemoryCRUD) -> OpenBackend:
    """A callable that gives handles to a new store in memory, each with a clock of its own."""
    storage = backend().storage

    def open_backend(clock: Clock) -> MemoryCRUD:
        handle = backend(clock=clock)
        handle.storage = storage
        return handle

    return open_backend
