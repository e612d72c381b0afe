"""What handles send to SQLite."""

from __future__ import annotations

from typing import Any

import aiosqlite
import pytest


class Statements:
    """What aiosqlite is asked to do, and with what."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[Any, ...]]] = []

    @property
    def on_tables(self) -> list[tuple[str, tuple[Any, ...]]]:
        """Those that are about what is stored."""
        return [asked for asked in self.asked if not asked[0].startswith("PRAGMA")]

    @property
    def writing(self) -> list[str]:
        """Those that are more than a question."""
        return [text for text, _ in self.asked if "UPDATE" in text or "INSERT" in text or "DELETE" in text]


def watched(monkeypatch: pytest.MonkeyPatch) -> Statements:
    """The statements that all handles send from here on."""
    seen = Statements()
    fetch, script = aiosqlite.Connection.execute_fetchall, aiosqlite.Connection.executescript

    def execute_fetchall(self: aiosqlite.Connection, sql: str, parameters: Any = ()) -> Any:
        seen.asked.append((sql, tuple(parameters)))
        return fetch(self, sql, seen.asked[-1][1])

    def executescript(self: aiosqlite.Connection, sql: str) -> Any:
        seen.asked.append((sql, ()))
        return script(self, sql)

    monkeypatch.setattr(aiosqlite.Connection, "execute_fetchall", execute_fetchall)
    monkeypatch.setattr(aiosqlite.Connection, "executescript", executescript)
    return seen
