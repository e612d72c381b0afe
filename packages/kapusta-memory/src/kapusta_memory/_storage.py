"""The tasks of one store in memory, and what the operations do to them."""

from __future__ import annotations

import heapq
import threading
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from kapusta.backend import (
    Added,
    AddOutcome,
    Change,
    ChangeAnswer,
    Changed,
    ClaimRequest,
    Claims,
    Guard,
    NewTask,
    Renewal,
    RenewAnswer,
    Renewed,
    RenewRequest,
    StoredTask,
    TaskQuery,
    TaskStatus,
    rules,
)

from ._heap import LazyHeap
from ._keys import Keys
from ._listeners import Listeners
from ._waiting import Waiting


class Storage:
    """Tasks and all that finds them quickly; every handle to the store shares it.

    Each method is one operation, whole under the lock. A row is a frozen record: writing is putting another
    in its place, so what was answered never changes afterwards.
    """

    def __init__(self) -> None:
        self.listeners = Listeners()
        self._lock = threading.Lock()
        self._rows: dict[int, StoredTask] = {}
        self._ids: list[int] = []  # in order; may name what was deleted
        self._keys = Keys(self._rows)
        self._waiting = Waiting(self._rows)
        self._rescues: LazyHeap[datetime] = LazyHeap()
        self._deadlines: LazyHeap[datetime] = LazyHeap()
        self._finishes: LazyHeap[datetime] = LazyHeap()

    def add(self, tasks: Sequence[NewTask], now: datetime) -> list[Added]:
        """Store new tasks."""
        rows = [rules.stored(task, now) for task in tasks]  # what can fail fails before the first is stored
        with self._lock:
            return [self._add(task, row, now) for task, row in zip(tasks, rows, strict=True)]

    def claim(self, request: ClaimRequest, now: datetime) -> Claims:
        """Claim due tasks."""
        with self._lock:
            ids, next_eta = self._waiting.take(request, now)
            tasks = [self._write(rules.claimed(self._rows[each], request, now)) for each in ids]
        return Claims(tasks=tasks, now=now, next_due=next_eta - now if next_eta is not None else None)

    def start(self, task: NewTask, request: ClaimRequest, now: datetime) -> Claims | None:
        """Store a new task as claimed."""
        row = rules.born_claimed(task, request, now)
        with self._lock:
            if row.id in self._rows:
                return None
            self._insert(row)
        return Claims(tasks=[row], now=now, next_due=None)

    def change(self, changes: Sequence[Change], now: datetime) -> list[Changed]:
        """Carry out compare-and-sets."""
        with self._lock:
            return [self._change(change, now) for change in changes]

    def renew(self, request: RenewRequest, now: datetime) -> list[Renewed]:
        """Extend leases."""
        with self._lock:
            return [self._renew(renewal, request, now) for renewal in request.renewals]

    def find(self, query: TaskQuery, now: datetime) -> list[StoredTask]:
        """The tasks that fit a query."""
        found: list[StoredTask] = []
        with self._lock:
            for task_id in self._candidates(query, now):
                if len(found) >= query.limit:
                    break
                row = self._rows.get(task_id)
                if row is not None and rules.fits(query, row, now):
                    found.append(row)
        return found

    def delete(self, ids: Iterable[int], now: datetime) -> int:
        """Delete the final ones of these tasks."""
        with self._lock:
            final = [row for each in set(ids) if (row := self._rows.get(each)) and row.status.is_final]
            for row in final:
                del self._rows[row.id]
                self._finishes.discard(row.id)
                self._keys.release(row.id, now)
            if len(self._ids) > 2 * len(self._rows):
                self._ids = [each for each in self._ids if each in self._rows]
        return len(final)

    def size(self) -> dict[str, int]:
        """How many entries each part holds, forgotten ones included."""
        return {
            "rows": len(self._rows),
            "ids": len(self._ids),
            "keys": self._keys.size(),
            "groups": self._waiting.size(),
            "rescues": self._rescues.size(),
            "deadlines": self._deadlines.size(),
            "finishes": self._finishes.size(),
        }

    def _add(self, task: NewTask, row: StoredTask, now: datetime) -> Added:
        there = self._rows.get(task.id)
        if there is not None:
            same = there.token == task.token
            return Added(id=task.id, outcome=AddOutcome.again if same else AddOutcome.id_in_use)
        if task.unique is not None:
            user = self._keys.user(task.unique.key, now)
            if user is not None:
                return Added(id=user, outcome=AddOutcome.key_in_use)
            self._keys.take(task, task.unique, now)
        self._insert(row)
        return Added(id=task.id, outcome=AddOutcome.new)

    def _insert(self, row: StoredTask) -> None:
        place = bisect_left(self._ids, row.id)
        if self._ids[place : place + 1] != [row.id]:
            self._ids.insert(place, row.id)
        self._write(row)

    def _change(self, change: Change, now: datetime) -> Changed:
        row = self._rows.get(change.id)
        answer = rules.answer(change, row, now)
        if row is not None and answer is ChangeAnswer.accepted:
            self._write(rules.changed(row, change, now))
        return Changed(id=change.id, answer=answer)

    def _renew(self, renewal: Renewal, request: RenewRequest, now: datetime) -> Renewed:
        row = self._rows.get(renewal.id)
        if row is None or not rules.is_held(row, request.worker, renewal.run):
            return Renewed(id=renewal.id, answer=RenewAnswer.lost)
        self._write(rules.renewed(row, request, now))
        return Renewed(id=row.id, answer=RenewAnswer.renewed, cancel_requested=row.cancel_requested)

    def _write(self, row: StoredTask) -> StoredTask:
        """Put a row in its place, and let each index know where it stands now."""
        before = self._rows.get(row.id)
        self._rows[row.id] = row
        pending = row.status is TaskStatus.pending
        if pending:
            self._waiting.put(row)
        elif before is not None and before.status is TaskStatus.pending:
            self._waiting.discard(before)
        self._deadlines.put(row.id, row.deadline if pending else None)
        self._rescues.put(row.id, rules.expires(row))
        self._finishes.put(row.id, row.finished)
        return row

    def _candidates(self, query: TaskQuery, now: datetime) -> Iterator[int]:
        """Ids in order, among them all that fit; few of them, where an index knows which can."""
        few: set[int] | None = None
        if query.ids is not None:
            few = set(query.ids)
        elif query.guards is not None and query.guards <= {Guard.expired, Guard.overdue}:
            few = set()
            if Guard.expired in query.guards:
                few |= self._rescues.up_to(now)
            if Guard.overdue in query.guards:
                few |= self._deadlines.up_to(now)
        elif query.finished_before is not None:
            oldest = self._finishes.first()
            if oldest is None or oldest[0] >= query.finished_before:
                few = set()
        if few is not None:
            rising = list(few)
            heapq.heapify(rising)
            while rising:
                yield heapq.heappop(rising)
        else:
            for place in range(bisect_right(self._ids, query.after_id), len(self._ids)):
                yield self._ids[place]
