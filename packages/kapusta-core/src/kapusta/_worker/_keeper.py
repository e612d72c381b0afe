"""Leases: due, renewed, lost."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Final, Protocol

import msgspec

from .._enums import TaskStatus
from .._events import LogEvent, log_event, task_fields
from .._executors._attempt import StopCause
from .._records import Renewal, RenewAnswer, Renewed, RenewRequest
from .._store import Store
from ..types import TaskId
from ._supervisor import Failures

RENEWALS_PER_LEASE: Final = 3
RETRIES_PER_LEASE: Final = 15
"""A renewal that has failed is tried again after at most this part of a lease, until the lease ends.

A store that refuses for all but two of these parts of a lease costs no lease: the last pause begins before it recovers."""

BUSY_AGAIN: Final = 1.0
"""A lease whose row was locked is asked for again after so many seconds, or a sixth of a short lease.

Nobody rescues it sooner than half as much later than it could be written again."""

BUSY_HOLDS: Final = 3
"""For so many of these, its row's being locked counts as the lease's being held."""

LOOK: Final = 1.0
"""The end of a lease is looked for at least each so many seconds."""

Stop = Callable[[TaskId, int, StopCause], object]
"""Called on the keeper's loop for a run that must stop."""

Renewals = Callable[[], object]
"""Called on the keeper's loop when the ends of leases have moved."""


def busy_again(lease: float) -> float:
    """After how many seconds a lease that was busy is asked for again."""
    return min(BUSY_AGAIN, lease / RENEWALS_PER_LEASE / 2)


class Lease(msgspec.Struct, gc=False):
    """One lease: whose, and until when it is safe, on the monotonic scale; the keeper moves that end, any thread may read it."""

    task_id: TaskId
    run: int
    safe_until: float
    task_name: str | None = None
    attempt: int | None = None


class LeaseKeeper(Protocol):
    """What a worker tells its keeper, from its own loop."""

    def keep(self, leases: Sequence[Lease]) -> None: ...

    def drop(self, task_id: TaskId, run: int) -> None: ...


class LeaseBook:
    """The leases that are held, and what follows from an answer; written by the keeper's loop.

    Attributes:
        busy_again: after so many seconds a lease that was busy is asked for again.
    """

    def __init__(self, lease: float) -> None:
        self._lease = lease
        self.busy_again = busy_again(lease)
        self._held: dict[TaskId, Lease] = {}

    def __len__(self) -> int:
        return len(self._held)

    def add(self, leases: Iterable[Lease]) -> None:
        self._held.update({lease.task_id: lease for lease in leases})

    def drop(self, task_id: TaskId, run: int) -> None:
        held = self._held.get(task_id)
        if held is not None and held.run == run:
            del self._held[task_id]

    def renewals(self) -> list[Renewal]:
        """All that is held, in id order."""
        return [Renewal(id=held.task_id, run=held.run) for _, held in sorted(self._held.items())]

    def first_end(self) -> float | None:
        """When the first lease stops being safe."""
        return min((held.safe_until for held in self._held.values()), default=None)

    def take_ended(self, now: float) -> list[Lease]:
        """The leases that have stopped being safe; they are not held any more."""
        ended = [held for held in self._held.values() if held.safe_until <= now]
        for held in ended:
            del self._held[held.task_id]
        return ended

    def note(
        self, asked: Sequence[Renewal], answers: Sequence[Renewed], sent_at: float
    ) -> list[tuple[Renewal, StopCause]]:
        """Take over the answers to a renewal that was sent at *sent_at*; answer which runs must stop, and why."""
        stops: list[tuple[Renewal, StopCause]] = []
        for renewal, answer in zip(asked, answers, strict=True):
            held = self._held.get(renewal.id)
            if held is None or held.run != renewal.run:
                continue  # it has ended meanwhile
            if answer.answer is RenewAnswer.renewed:
                held.safe_until = sent_at + self._lease
            elif answer.answer is RenewAnswer.busy:
                # Whoever has the row locked keeps it from all others, too; how long, is seen by asking again.
                held.safe_until = max(held.safe_until, sent_at + BUSY_HOLDS * self.busy_again)
            else:
                del self._held[renewal.id]
                stops.append((renewal, StopCause.lease_lost))
                continue
            if answer.cancel_requested:
                stops.append((renewal, StopCause.cancelled))
        return stops


class Keeper:
    """Renews leases, and stops what it could not renew; lives on the keeper's loop, and writes its book."""

    def __init__(
        self,
        store: Store,
        worker: str,
        lease: timedelta,
        stop: Stop,
        renewed: Renewals,
        logger: logging.Logger,
    ) -> None:
        self._store, self._worker, self._lease, self._stop, self._logger = store, worker, lease, stop, logger
        self._renewed = renewed
        self._clock = store.clock
        self._every = lease.total_seconds() / RENEWALS_PER_LEASE
        self._book = LeaseBook(lease.total_seconds())
        self._held = asyncio.Event()

    def keep(self, leases: Sequence[Lease]) -> None:
        self._book.add(leases)
        if leases:
            self._held.set()

    def drop(self, task_id: TaskId, run: int) -> None:
        self._book.drop(task_id, run)
        if not self._book:
            self._held.clear()

    async def renew_loop(self, failures: Failures) -> None:
        """Renew a third of a lease apart; at once after a failure, for which the supervisor has paused."""
        while True:
            await self._held.wait()
            if not failures.in_a_row:
                await self._clock.sleep(self._every)
            while await self._renew():
                await self._clock.sleep(self._book.busy_again)
            failures.succeeded()

    async def watch_loop(self, failures: Failures) -> None:
        """Stop, for ever, what could not be renewed, before others may take it."""
        while True:
            await self._held.wait()
            first = self._book.first_end()
            now = self._clock.monotonic()
            if first is not None and first > now:
                # A renewal moves the end away, never nearer. Looking again each second is for a machine that was
                # suspended: the event loop's timers stood still meanwhile, and the lease did not.
                await self._clock.sleep(
                    min(first - now, LOOK) if self._clock.moves_by_itself else first - now
                )
            for ended in self._book.take_ended(self._clock.monotonic()):
                self._say(ended)
                self._stop(ended.task_id, ended.run, StopCause.lease_lost)
            if not self._book:
                self._held.clear()
            failures.succeeded()

    def _say(self, ended: Lease) -> None:
        fields = task_fields(ended.task_id, ended.task_name, attempt=ended.attempt, status=TaskStatus.started)
        what = "Task %s '%s': its lease could not be renewed in time"
        event = LogEvent.task_lease_expired
        log_event(self._logger, event, what, ended.task_id, ended.task_name, fields=fields)

    async def _renew(self) -> bool:
        """Renew all that is held; whether some of it was busy."""
        asked = self._book.renewals()
        if not asked:
            return False
        sent_at = self._clock.monotonic()
        answers = await self._store.renew(
            RenewRequest(worker=self._worker, lease=self._lease, renewals=asked)
        )
        stops = self._book.note(asked, answers, sent_at)
        self._renewed()
        for renewal, cause in stops:
            self._stop(renewal.id, renewal.run, cause)
        return any(answer.answer is RenewAnswer.busy for answer in answers)
