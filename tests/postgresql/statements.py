"""What handles send to PostgreSQL, and how it carries that out."""

from __future__ import annotations

from typing import Any

import asyncpg
import pytest

from kapusta_sqlalchemy._dialects._postgresql._checkouts import SETTINGS


class Statements:
    """What asyncpg is asked to do, and with what; hints are counted apart."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, tuple[Any, ...]]] = []
        self.hints = 0

    def note(self, text: str, parameters: tuple[Any, ...]) -> None:
        """Keep a statement in mind."""
        if text.endswith(SETTINGS.rpartition("}")[2]):
            return  # a pool has opened a connection
        if "pg_notify" in text:
            self.hints += 1
        else:
            self.asked.append((text, parameters))


def watched(monkeypatch: pytest.MonkeyPatch) -> Statements:
    """The statements that all handles send from here on."""
    seen = Statements()
    for method in ("fetch", "fetchval", "execute"):
        original = getattr(asyncpg.Connection, method)

        def spy(
            self: asyncpg.Connection, query: str, *args: Any, original: Any = original, **options: Any
        ) -> Any:
            seen.note(query, args)
            return original(self, query, *args, **options)

        monkeypatch.setattr(asyncpg.Connection, method, spy)
    return seen


async def plan(admin: asyncpg.Connection, statement: tuple[str, tuple[Any, ...]]) -> str:
    """How the server carries it out on a connection of ours."""
    text, parameters = statement
    await admin.execute(SETTINGS.format(process=admin.get_server_pid()))
    return "\n".join(row[0] for row in await admin.fetch(f"EXPLAIN {text}", *parameters))
