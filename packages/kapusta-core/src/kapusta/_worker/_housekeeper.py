"""Chores with a period."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Container, Sequence
from datetime import timedelta
from typing import Final

import msgspec

from .._clock import Clock
from .._enums import TaskStatus
from .._options import Policy
from .._outcomes import overdue, rescued, untouched
from .._records import Change, ChangeAnswer, Guard, StoredTask, TaskQuery
from .._store import Store
from ..types import TaskId
from ._changing import change_apart
from ._supervisor import Failures

PAGE: Final = 100
LOOKS_PER_LEASE: Final = 4
"""How often what has lost its worker is looked for."""


class Chore(msgspec.Struct, frozen=True):
    """Something to be done from time to time.

    Attributes:
        do: answers whether it has found what it must come back for, and soon.
        soon: how long after that it is done again, instead of after its period.
    """

    name: str
    period: timedelta
    do: Callable[[], Awaitable[bool]]
    soon: timedelta


class Housekeeper:
    """Does each chore when it is due; written by the worker's loop."""

    def __init__(self, chores: Sequence[Chore], clock: Clock) -> None:
        self._chores, self._clock = chores, clock
        self._due_at = dict.fromkeys((chore.name for chore in chores), clock.monotonic())

    async def run(self, failures: Failures) -> None:
        """Do chores for ever."""
        while True:
            for chore in self._chores:
                if self._due_at[chore.name] <= self._clock.monotonic():
                    again = chore.soon if await chore.do() else chore.period
                    failures.succeeded()
                    self._due_at[chore.name] = self._clock.monotonic() + again.total_seconds()
            await self._clock.sleep(min(self._due_at.values()) - self._clock.monotonic())

    async def do_all(self) -> None:
        """Do every chore now, until it finds no more that it must come back for."""
        for chore in self._chores:
            while await chore.do():
                pass


class Rescuer:
    """Finds tasks whose lease or deadline has passed, decides, and changes them if that still holds.

    After an outage every lease may have ended, though its worker is alive and about to renew it: nothing is
    rescued before the store has been within reach for a whole lease. So it is with a lease that could not be
    written, whose row was locked, or the whole store, which could be read all the while: a task is rescued only
    if it could have been written at the look before, and once it can, its worker, which asks more often, has
    until the next look. Written by the housekeeper's loop.
    """

    def __init__(
        self,
        store: Store,
        lease: timedelta,
        changed: Callable[[Sequence[Change]], object],
        logger: logging.Logger,
    ) -> None:
        self._store, self._lease, self._changed, self._logger = store, lease, changed, logger
        self._left: set[tuple[TaskId, int]] = set()

    async def rescue(self) -> bool:
        """Look through all that is due to be rescued or to be overdue, a page at a time; whether some is left for soon."""
        guards = {Guard.overdue}
        if self._store.reach >= self._lease.total_seconds():
            guards.add(Guard.expired)
        after, kept = 0, None
        left, self._left = self._left, set()
        while found := await self._store.find(
            TaskQuery(guards=frozenset(guards), after_id=after, limit=PAGE)
        ):
            changes = [self._decide(task, left) for task in found]
            answers, trouble = await change_apart(self._store, changes)
            self._note(changes, answers)
            kept = kept or trouble
            if len(found) < PAGE or (kept is not None and not kept.busy):
                break
            after = found[-1].id
        if kept is not None:
            raise kept
        return bool(self._left)

    def _decide(self, task: StoredTask, left: Container[tuple[TaskId, int]]) -> Change:
        if task.status is TaskStatus.pending:
            return overdue(task)
        if (task.id, task.run) in left:
            return rescued(task, Policy.read(task.options))
        return untouched(task)

    def _note(self, changes: Sequence[Change], answers: Sequence[ChangeAnswer | None]) -> None:
        """What was refused is locked, or has been somebody else's business."""
        done = []
        for change, answer in zip(changes, answers, strict=True):
            if answer is not ChangeAnswer.accepted:
                continue
            if change.status is None:
                self._left.add((change.id, change.run))
                continue
            done.append(change)
            self._logger.warning(
                "Task %s is '%s': %s", change.id, change.status, change.reason, extra={"task_id": change.id}
            )
        self._changed(done)
