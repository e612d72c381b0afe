"""Unique keys, and whether they are in use."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from heapq import heappop, heappush
from typing import NamedTuple

from kapusta.backend import NewTask, StoredTask, TaskStatus, UniqueKey, UniqueUntil

from ._instants import later


class _Use(NamedTuple):
    task_id: int
    until: UniqueUntil
    ends: datetime | None


class Keys:
    """Which task has taken a unique key last. Written by its storage, under its lock."""

    def __init__(self, rows: Mapping[int, StoredTask]) -> None:
        self._rows = rows
        self._uses: dict[str, _Use] = {}
        self._of: dict[int, str] = {}
        self._ends: list[tuple[datetime, str]] = []

    def user(self, key: str, now: datetime) -> int | None:
        """The task that uses a key, if it is in use."""
        use = self._uses.get(key)
        return use.task_id if use is not None and self._lasts(use, now) else None

    def take(self, task: NewTask, key: UniqueKey, now: datetime) -> None:
        """Let a new task use a key that is free."""
        self._drop_ended(now)
        before = self._uses.get(key.key)
        if before is not None:
            self._of.pop(before.task_id, None)
        ends = later(now, key.period) if key.period is not None else None
        self._uses[key.key] = _Use(task.id, key.until, ends)
        self._of[task.id] = key.key
        if ends is not None:
            heappush(self._ends, (ends, key.key))

    def release(self, id: int, now: datetime) -> None:
        """Forget the key of a task that is deleted, unless it outlives it."""
        key = self._of.get(id)
        if key is not None and not self._outlives(self._uses[key], now):
            del self._uses[key], self._of[id]

    def size(self) -> int:
        """How many uses are remembered."""
        return max(len(self._uses), len(self._of), len(self._ends))

    def _drop_ended(self, now: datetime) -> None:
        # A key for a period outlives its task, so nobody else would ever drop it.
        while self._ends and self._ends[0][0] <= now:
            _, key = heappop(self._ends)
            use = self._uses.pop(key, None)
            if use is not None:
                self._of.pop(use.task_id, None)

    def _lasts(self, use: _Use, now: datetime) -> bool:
        row = self._rows.get(use.task_id)
        match use.until:
            case UniqueUntil.started:
                return row is not None and row.status is TaskStatus.pending
            case UniqueUntil.finished:
                return row is not None and not row.status.is_final
            case _:
                return self._outlives(use, now)

    @staticmethod
    def _outlives(use: _Use, now: datetime) -> bool:
        return use.until is UniqueUntil.forever or (use.ends is not None and now < use.ends)
