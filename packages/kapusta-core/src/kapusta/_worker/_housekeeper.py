"""Chores with a period."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final

import msgspec

from .._clock import Clock
from .._enums import TaskStatus
from .._errors import StoreUnavailableError
from .._options import Policy
from .._outcomes import overdue, rescued, untouched
from .._records import Change, ChangeAnswer, Guard, StoredTask, TaskQuery
from .._store import Store
from ..types import TaskId
from ._changing import change_apart
from ._supervisor import Failures

PAGE: Final = 100


class Chore(msgspec.Struct, frozen=True):
    """Something to be done from time to time."""

    name: str
    period: timedelta
    do: Callable[[], Awaitable[None]]


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
                    await chore.do()
                    failures.succeeded()
                    self._due_at[chore.name] = self._clock.monotonic() + chore.period.total_seconds()
            await self._clock.sleep(min(self._due_at.values()) - self._clock.monotonic())

    async def do_all(self) -> None:
        """Do every chore once, now."""
        for chore in self._chores:
            await chore.do()


class Rescuer:
    """Finds tasks whose lease or deadline has passed, decides, and changes them if that still holds.

    After an outage every lease may have ended, though its worker is alive and about to renew it: nothing is
    rescued before the store has been within reach for a whole lease. So it is with a lease that could not be
    written, whose row was locked, or the whole store, which could be read all the while: once it can, its worker
    has until the next look. Written by the housekeeper's loop.
    """

    def __init__(
        self,
        store: Store,
        lease: timedelta,
        changed: Callable[[Sequence[Change]], object],
        logger: logging.Logger,
    ) -> None:
        self._store, self._lease, self._changed, self._logger = store, lease, changed, logger
        self._locked: set[tuple[TaskId, int]] = set()

    async def rescue(self) -> None:
        """Look through all that is due to be rescued or to be overdue, a page at a time."""
        guards = {Guard.overdue}
        if self._store.reach >= self._lease.total_seconds():
            guards.add(Guard.expired)
        after, kept = 0, None
        seen: set[tuple[TaskId, int]] = set()
        while found := await self._store.find(
            TaskQuery(guards=frozenset(guards), after_id=after, limit=PAGE)
        ):
            changes = [self._decide(task) for task in found]
            try:
                answers, trouble = await change_apart(self._store, changes)
            except StoreUnavailableError:
                self._locked.update((task.id, task.run) for task in found)
                raise
            done = self._accepted(changes, answers)
            for change in done:
                self._logger.warning(
                    "Task %s is '%s': %s",
                    change.id,
                    change.status,
                    change.reason,
                    extra={"task_id": change.id},
                )
            self._changed(done)
            seen.update((task.id, task.run) for task in found)
            kept = kept or trouble
            if len(found) < PAGE or (kept is not None and not kept.busy):
                break
            after = found[-1].id
        if kept is not None:
            raise kept
        self._locked &= seen

    def _decide(self, task: StoredTask) -> Change:
        if task.status is TaskStatus.pending:
            return overdue(task)
        if (task.id, task.run) in self._locked:
            return untouched(task)
        return rescued(task, Policy.read(task.options))

    def _accepted(self, changes: Sequence[Change], answers: Sequence[ChangeAnswer | None]) -> list[Change]:
        """What has been decided and done; what was refused is locked, or has been somebody else's business."""
        done = []
        for change, answer in zip(changes, answers, strict=True):
            if answer is not ChangeAnswer.accepted:
                self._locked.add((change.id, change.run))
            elif change.status is None:
                self._locked.discard((change.id, change.run))
            else:
                done.append(change)
        return done
