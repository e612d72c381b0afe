"""Stores, Kapustas, and bombs that have not gone off."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.security.bombs import exploded
from tests.worker.conftest import in_memory, make_kapusta, on_sqlite, open_store

__all__ = ["in_memory", "make_kapusta", "on_sqlite", "open_store"]


@pytest.fixture(autouse=True)
def no_bomb_went_off_before() -> Iterator[None]:
    """Each test counts its own."""
    exploded.clear()
    yield
    exploded.clear()
