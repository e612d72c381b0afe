"""Pending tasks, in the order in which they can be claimed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from heapq import heapify, heappop, heapreplace
from typing import TypeAlias

from kapusta.backend import ClaimRequest, StoredTask, TaskExecutionMode, rules

from ._heap import LazyHeap

Rows: TypeAlias = Mapping[int, StoredTask]
Rank: TypeAlias = tuple[int, datetime, int]


class _Group:
    """Pending tasks of one mode, name and queue: a claim takes them by rank, once time has come for them."""

    __slots__ = ("due", "future")

    def __init__(self) -> None:
        self.future: LazyHeap[datetime] = LazyHeap()
        self.due: LazyHeap[Rank] = LazyHeap()

    def discard(self, id: int) -> None:
        self.future.discard(id)
        self.due.discard(id)

    def best(self, rows: Rows, now: datetime) -> Rank | None:
        """The task to claim first, if one can be claimed now."""
        while (waiting := self.future.first()) is not None and waiting[0] <= now:
            task_id = waiting[1]
            self.future.pop()
            self.due.put(task_id, rules.rank(rows[task_id]))
        while (first := self.due.first()) is not None:
            rank, task_id = first
            if rules.in_time(rows[task_id], now):
                return rank
            self.due.pop()  # no claim will take it any more
        return None


class Waiting:
    """All pending tasks, in groups. Written by its storage, under its lock."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self._groups: dict[TaskExecutionMode, dict[str, dict[str, _Group]]] = {}

    def put(self, row: StoredTask) -> None:
        """Let a pending task wait for its eta, or go on waiting for another."""
        queues = self._groups.setdefault(row.mode, {}).setdefault(row.name, {})
        group = queues.get(row.queue)
        if group is None:
            group = queues[row.queue] = _Group()
        group.discard(row.id)
        if rules.in_time(row, row.eta):
            group.future.put(row.id, row.eta)

    def discard(self, row: StoredTask) -> None:
        """Forget a task that is pending no more."""
        queues = self._groups.get(row.mode, {}).get(row.name, {})
        group = queues.get(row.queue)
        if group is None:
            return
        group.discard(row.id)
        if not group.due and not group.future:
            del queues[row.queue]
            if not queues:
                del self._groups[row.mode][row.name]

    def take(self, request: ClaimRequest, now: datetime) -> tuple[list[int], datetime | None]:
        """The ids that a request can have now, in order, and the next eta of a task that it could have later."""
        taken: list[Rank] = []
        etas: list[datetime] = []
        for mode, slots in request.slots.items():
            if slots > 0:
                groups = list(self._fitting(mode, request))
                taken += self._best(groups, slots, now)
                etas += [first[0] for group in groups if (first := group.future.first()) is not None]
        return [task_id for *_, task_id in sorted(taken)], min(etas, default=None)

    def size(self) -> int:
        """How many groups there are."""
        return sum(len(queues) for names in self._groups.values() for queues in names.values())

    def _fitting(self, mode: TaskExecutionMode, request: ClaimRequest) -> Iterator[_Group]:
        names = self._groups.get(mode, {})
        for name in names.keys() & request.names:
            for queue, group in names[name].items():
                if request.queues is None or queue in request.queues:
                    yield group

    def _best(self, groups: list[_Group], slots: int, now: datetime) -> Iterator[Rank]:
        heads = [
            (rank, place)
            for place, group in enumerate(groups)
            if (rank := group.best(self._rows, now)) is not None
        ]
        heapify(heads)
        while heads and slots > 0:
            rank, place = heads[0]
            yield rank
            slots -= 1
            groups[place].due.pop()
            if (following := groups[place].best(self._rows, now)) is not None:
                heapreplace(heads, (following, place))
            else:
                heappop(heads)
