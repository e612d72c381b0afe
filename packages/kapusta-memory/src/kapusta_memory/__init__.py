"""Kapusta's tasks in memory: a peer of the databases, for tests and for work that may end with the process."""

from __future__ import annotations

from ._crud import MemoryCRUD

__all__ = ["MemoryCRUD"]
