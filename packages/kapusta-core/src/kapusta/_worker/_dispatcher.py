"""When to claim, and how much."""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping
from datetime import timedelta
from typing import Any, Final

from .._clock import ZERO, Timer
from .._enums import TaskExecutionMode, TaskStatus
from .._errors import StoreUnavailableError
from .._events import LogEvent, log_event
from .._outcomes import released
from .._records import Capabilities, ChangeAnswer, ClaimRequest, Claims, NewTask, StoredTask, TaskQuery
from .._registry import Registry
from .._slots import Slots
from .._store import Store
from ..types import TaskId
from ._reporting import LOST_REPLY, Reporter
from ._running import Run, Running
from ._settler import Settler
from ._starts import Starts
from ._supervisor import Failures

GATHERING: Final = 0.005
"""Seconds that a few free slots wait for more to become free, at most; never longer than a claim takes."""


def longest_sleep(capabilities: Capabilities, lease: timedelta, max_tick_interval: timedelta) -> timedelta:
    """How long a dispatcher may sleep when nothing wakes it: pushed wake-ups are hints, never the truth."""
    bounds = [max_tick_interval]
    if capabilities.shared_between_processes:
        bounds.append(lease)
    if capabilities.poll_interval is not None:
        bounds.append(capabilities.poll_interval)
    return min(bounds)


def until_next_claim(claims: Claims, longest: timedelta, resolution: timedelta) -> timedelta:
    """How long to sleep after a claim that left slots free."""
    if claims.next_due is None:
        return longest
    # A store that keeps instants coarsely may find a task due one step later than it said.
    return min(longest, max(ZERO, claims.next_due) + resolution)


def exhausted(slots: Mapping[TaskExecutionMode, int], claims: Claims) -> set[TaskExecutionMode]:
    """Of which modes nothing more is due: those that were asked for, and of which not all slots were filled."""
    taken = Counter(task.mode for task in claims.tasks)
    return {mode for mode, free in slots.items() if taken[mode] < free}


def is_worthwhile(taken: int, total: int) -> bool:
    """Whether to claim at once: half of the slots are free.

    A claim costs about the same for one task and for many. While one half of the slots runs, the other is claimed; a
    claim for a few slots would keep the two halves from ever meeting.
    """
    return 2 * (total - taken) >= total


class Dispatcher:
    """Claims as many tasks as there are free slots, and sleeps until there may be more; written by the worker's loop."""

    def __init__(
        self,
        *,
        worker: str,
        store: Store,
        registry: Registry,
        slots: Slots,
        running: Running,
        settler: Settler,
        lease: timedelta,
        max_tick_interval: timedelta,
        start: Callable[[list[Run]], object],
        logger: logging.Logger,
    ) -> None:
        self._worker, self._store, self._registry = worker, store, registry
        self._slots, self._running, self._settler = slots, running, settler
        self._lease, self._start, self._logger = lease, start, logger
        self._reporter = Reporter(logger)
        capabilities = store.crud.capabilities
        self._longest = longest_sleep(capabilities, lease, max_tick_interval)
        self._resolution = capabilities.time_resolution
        self._awake = asyncio.Event()
        self._claiming = asyncio.Lock()
        self._reply_lost = False
        self._given_back: set[tuple[TaskId, int]] = set()
        self._hungry = set(TaskExecutionMode)
        self._due_at = math.inf
        self._claim_took = 0.0
        self._gathering: Timer | None = None
        self._starts_tasks = capabilities.starts_tasks
        self._starts = Starts(slots)
        self.is_paused = self._is_stopped = False

    def wake(self) -> None:
        """There may be something to claim, of any mode."""
        self._ask_all()
        self._awake.set()

    def slot_freed(self) -> None:
        """A slot is free again: that matters if there may be more than the last claims could take."""
        if not self._hungry or self._awake.is_set() or self._claiming.locked():
            return  # nothing is due, or a claim is under way and looks at the slots afterwards
        if self._is_worthwhile():
            self._awake.set()
        elif self._gathering is None:
            clock = self._store.clock
            end = clock.monotonic() + min(self._claim_took, GATHERING)
            self._gathering = clock.call_at(end, self._gathered)

    async def run(self, failures: Failures) -> None:
        """Claim for ever."""
        while True:
            # Cleared before the claim: what is stored while the claim is under way wakes us after it.
            self._awake.clear()
            if not self.is_paused:
                await self._round()
                failures.succeeded()
            await self._sleep()

    async def start_new(self, task: NewTask) -> bool:
        """Store *task* as one that is claimed here, and start it; ``False``: it is not stored, or the reply was lost.

        Only if a claim would take it at once: its mode has a free slot, and nothing else is due for that slot.
        """
        if not self._may_start(task):
            return False
        self._starts.begin(task)
        begun = False

        def work() -> Coroutine[Any, Any, bool]:
            nonlocal begun
            begun = True
            return self._store_and_start(task)

        try:
            return await self._store.start(work)
        except StoreUnavailableError:
            self._start_lost(task)  # it may have been given up before its work is over
            return False
        finally:
            if not begun:
                self._starts.end(task)

    def _may_start(self, task: NewTask) -> bool:
        return (
            self._starts_tasks
            and task.unique is None
            and task.mode not in self._hungry
            and task.name in self._registry.names
            and not (self.is_paused or self._is_stopped or self._reply_lost or self._settler.is_backlogged)
            and not self._claiming.locked()  # a claim under way may fill the slots that are free
            and task.mode in self._slots.free({task.mode})
            and self._store.has_room  # its slot must not wait with it
        )

    async def _store_and_start(self, task: NewTask) -> bool:
        sent_at = self._store.clock.monotonic()
        try:
            claims = await self._store.crud.start_task(task, self._request({task.mode: 1}))
        except BaseException:
            self._start_lost(task)
            raise
        if not self._starts.end(task):  # it was given up meanwhile
            self._start_lost(task)
            return False
        if claims is None:
            return False
        self._start([Run(started, sent_at, claims.now) for started in claims.tasks])
        return True

    def _start_lost(self, task: NewTask) -> None:
        """The next claim gives back what this start may have stored."""
        self._starts.end(task)
        self._reply_lost = True
        self.wake()

    async def claim(self) -> int:
        """Claim and start all that is due and has a slot; answer how many that were."""
        self._ask_all()
        count = 0
        while (claims := await self._claim_hungry()) is not None:
            count += len(claims.tasks)
        return count

    async def stop(self) -> None:
        """Claim nothing more, and return when no claim is under way; what a lost reply claimed is given back."""
        self.is_paused = self._is_stopped = True
        if self._gathering is not None:
            self._gathering.cancel()
        await self._starts.over(self._store.longest_call)
        async with self._claiming:
            if self._reply_lost:
                try:
                    await self._give_back_unknown()
                except StoreUnavailableError as problem:
                    what = "Tasks of a claim without a reply wait until their lease ends: %s"
                    log_event(self._logger, LogEvent.claim_unresolved, what, problem)

    def _ask_all(self) -> None:
        # Another set: a claim that is under way is about to strike modes from the one that it saw.
        self._hungry = set(TaskExecutionMode)
        self._due_at = math.inf

    async def _round(self) -> None:
        """Claim until the slots are full or nothing more is due; leave the last few slots to `slot_freed`."""
        while not self.is_paused and await self._claim_hungry() is not None:
            if not self._is_worthwhile():
                if self._slots.taken < self._slots.total:
                    self.slot_freed()
                return

    def _is_worthwhile(self) -> bool:
        # A moved clock stands still while bodies run: nothing would gather.
        return not self._store.clock.moves_by_itself or is_worthwhile(self._slots.taken, self._slots.total)

    def _gathered(self) -> None:
        self._gathering = None
        self._awake.set()

    async def _claim_hungry(self) -> Claims | None:
        """Claim of the modes of which more may be due; ``None`` if there is no such mode, or no slot for it.

        With fewer free slots than modes not all can be asked at once: a slot that was offered to a mode of which
        nothing is due goes to the next one, and not to sleep.
        """
        async with self._claiming:
            hungry = self._hungry
            slots = {} if self._settler.is_backlogged else self._slots.free(hungry)
            claims = await self._claim(slots)
        if claims is not None:
            hungry -= exhausted(slots, claims)
            pause = until_next_claim(claims, self._longest, self._resolution).total_seconds()
            self._due_at = min(self._due_at, self._store.clock.monotonic() + pause)
        return claims

    async def _claim(self, slots: dict[TaskExecutionMode, int]) -> Claims | None:
        """Claim and start; ``None`` if nothing can be taken now."""
        if self._reply_lost:
            self._reply_lost = False  # before the question: a start may be lost while it is asked
            try:
                await self._give_back_unknown()
            except BaseException:
                self._reply_lost = True
                raise
        if not slots or not self._registry.names or self._is_stopped:
            return None
        request = self._request(slots)
        sent_at = self._store.clock.monotonic()
        try:
            claims = await self._store.claim(request)
        except StoreUnavailableError:
            self._reply_lost = True
            raise
        self._claim_took = self._store.clock.monotonic() - sent_at
        if claims.tasks:
            self._start([Run(task, sent_at, claims.now) for task in claims.tasks])
        return claims

    def _request(self, slots: dict[TaskExecutionMode, int]) -> ClaimRequest:
        return ClaimRequest(worker=self._worker, lease=self._lease, slots=slots, names=self._registry.names)

    async def _give_back_unknown(self) -> None:
        """Release what was claimed by a claim whose reply was lost: nobody has begun it, nobody will."""
        after = 0
        while True:
            # From before the question: what ends while the answer is on its way is not known any more when it comes.
            known = {(run.task.id, run.task.run) for run in self._running}
            starting = self._starts.ids
            found = await self._store.find(
                TaskQuery(statuses=frozenset({TaskStatus.started}), after_id=after, limit=500)
            )
            if not found:
                return
            for task in found:
                mine = task.worker == self._worker and (task.id, task.run) not in known
                starts = task.id in starting or task.id in self._starts.ids
                if mine and not starts and not self._running.knows(task.id, task.run):
                    self._give_back(task)
            after = found[-1].id

    def _give_back(self, task: StoredTask) -> None:
        """Release a task, once, without waiting: the store may be readable for long before it is writable."""
        claim = task.id, task.run
        if claim in self._given_back:
            return
        self._given_back.add(claim)

        def answered(answer: ChangeAnswer | None, problem: Exception | None) -> None:
            self._given_back.discard(claim)
            self._reporter.given_back(task, answer, problem)

        self._settler.settle(released(task, LOST_REPLY), answered)

    async def _sleep(self) -> None:
        clock = self._store.clock
        longest = clock.monotonic() + self._longest.total_seconds()
        timer = clock.call_at(min(longest, self._due_at), self.wake)
        try:
            await self._awake.wait()
        finally:
            timer.cancel()
