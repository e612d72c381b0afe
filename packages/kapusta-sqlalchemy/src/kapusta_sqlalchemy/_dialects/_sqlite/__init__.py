"""SQLite: a database that is a file, with one writer at a time."""

from ._dialect import SQLite

__all__ = ["SQLite"]
