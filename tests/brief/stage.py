"""What a row of the brief is checked on, and how it is written down."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from kapusta import BaseCRUD, Kapusta
from kapusta.backend import StoredTask, TaskQuery
from kapusta.testing import ManualClock
from kapusta_memory import MemoryCRUD
from kapusta_sqlalchemy import AlchemyCRUD

ROOT: Final = Path(__file__).resolve().parents[2]


class Stage:
    """One store, with time that stands still, and Kapustas on it.

    Attributes:
        url: what leads to the store.
        ran: what bodies leave behind.
    """

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.folder, self.clock = url, folder, ManualClock()
        self.ran: list[Any] = []
        self._first = self._open()
        self._made: list[Kapusta] = []

    def _open(self) -> BaseCRUD:
        if self.url == "memory://":
            return MemoryCRUD(clock=self.clock)
        return AlchemyCRUD(self.url, clock=self.clock)

    def crud(self) -> BaseCRUD:
        """Another handle to the store."""
        return self._first.twin()

    def kapusta(self, **options: Any) -> Kapusta:
        """A Kapusta on the store, not started."""
        kapusta = Kapusta(crud=self.crud(), **options)
        self._made.append(kapusta)
        return kapusta

    async def stored(self) -> Sequence[StoredTask]:
        """All that is stored."""
        crud = self.crud()
        await crud.startup()
        try:
            return await crud.find_tasks(TaskQuery())
        finally:
            await crud.shutdown()

    async def close(self) -> None:
        """Stop every Kapusta that was made here."""
        for kapusta in self._made:
            await kapusta.shutdown()


class Row(NamedTuple):
    """A sentence of the brief, and the code that holds it to be true."""

    sentence: str
    check: Callable[[Stage], Awaitable[None]]


class Page:
    """Sentences of the brief, in its order."""

    def __init__(self) -> None:
        self.rows: list[Row] = []

    def says(self, *sentences: str) -> Callable[[Callable[[Stage], Awaitable[None]]], None]:
        """The decorated check is what these sentences come to; they are quoted word for word."""

        def decorator(check: Callable[[Stage], Awaitable[None]]) -> None:
            self.rows += [Row(sentence, check) for sentence in sentences]

        return decorator
