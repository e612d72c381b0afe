"""Unique keys, and whether they are in use."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from heapq import heappop, heappush

from kapusta.backend import NewTask, StoredTask, UniqueKey, rules


class Keys:
    """Which task has taken a unique key last. Written by its storage, under its lock."""

    def __init__(self, rows: Mapping[int, StoredTask]) -> None:
        self._rows = rows
        self._uses: dict[str, rules.KeyUse] = {}
        self._of: dict[int, str] = {}
        self._ends: list[tuple[datetime, str]] = []

    def user(self, key: str, now: datetime) -> int | None:
        """The task that uses a key, if it is in use."""
        use = self._uses.get(key)
        if use is not None and rules.in_use(use, self._rows.get(use.task_id), now):
            return use.task_id
        return None

    def take(self, task: NewTask, key: UniqueKey, now: datetime) -> None:
        """Let a new task use a key that is free."""
        self._drop_ended(now)
        before = self._uses.get(key.key)
        if before is not None:
            self._of.pop(before.task_id, None)
        use = self._uses[key.key] = rules.key_use(task, key, now)
        self._of[task.id] = key.key
        if use.ends is not None:
            heappush(self._ends, (use.ends, key.key))

    def release(self, id: int, now: datetime) -> None:
        """Forget the key of a task that is deleted, unless it outlives it."""
        key = self._of.get(id)
        if key is not None and not rules.in_use(self._uses[key], None, now):
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
