"""Stores and Kapustas, as the tests of the worker have them."""

from __future__ import annotations

from tests.worker.conftest import in_memory, make_kapusta, on_sqlite, open_store

__all__ = ["in_memory", "make_kapusta", "on_sqlite", "open_store"]
