"""Ids by their smallest key, whatever is taken out in between."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from heapq import heapify, heappop, heappush
from typing import Final, Generic, TypeVar

K = TypeVar("K", datetime, tuple[int, datetime, int])

_SMALL: Final = 64


class LazyHeap(Generic[K]):
    """Ids with a key each, smallest first; equal keys by id. Written by its storage, under its lock.

    Taking an id out only forgets its key. The entry left behind is dropped when it comes up, or when such
    entries outnumber the others.
    """

    __slots__ = ("_entries", "_keys")

    def __init__(self) -> None:
        self._entries: list[tuple[K, int]] = []
        self._keys: dict[int, K] = {}

    def __len__(self) -> int:
        return len(self._keys)

    def size(self) -> int:
        """How many entries are kept, forgotten ones included."""
        return len(self._entries)

    def put(self, id: int, key: K | None) -> None:
        """Put *id* in, or give it another key; with none, take it out."""
        if key is None:
            self.discard(id)
        else:
            self._keys[id] = key
            heappush(self._entries, (key, id))
            self._tidy()

    def discard(self, id: int) -> None:
        """Take *id* out, if it is in."""
        if self._keys.pop(id, None) is not None:
            self._tidy()

    def first(self) -> tuple[K, int] | None:
        """The smallest entry."""
        while self._entries:
            key, task_id = self._entries[0]
            if self._keys.get(task_id) == key:
                return key, task_id
            heappop(self._entries)
        return None

    def pop(self) -> None:
        """Take out what ``first()`` has just given."""
        _, task_id = heappop(self._entries)
        del self._keys[task_id]

    def up_to(self, key: K) -> set[int]:
        """The ids whose key is at most *key*, at a cost of their number alone."""
        return set(self._walk(key))

    def _tidy(self) -> None:
        if len(self._entries) > 2 * len(self._keys) + _SMALL:
            self._entries = [(key, task_id) for task_id, key in self._keys.items()]
            heapify(self._entries)

    def _walk(self, limit: K) -> Iterator[int]:
        # Below an entry of a heap there is nothing smaller, so what lies below a later one is never looked at.
        places = [0]
        while places:
            place = places.pop()
            if place < len(self._entries) and (entry := self._entries[place])[0] <= limit:
                if self._keys.get(entry[1]) == entry[0]:
                    yield entry[1]
                places += (2 * place + 1, 2 * place + 2)
