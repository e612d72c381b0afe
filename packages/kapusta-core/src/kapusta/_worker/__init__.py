"""The four loops, started and stopped in order."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import msgspec

from .._codec import Codecs
from .._crud import BaseCRUD, WakeKind
from .._enums import TaskExecutionMode, TaskStatus
from .._errors import StillBusyError
from .._events import LogEvent, log_event
from .._executors import make_executors
from .._executors._attempt import StopCause
from .._executors._watching import Watchdog
from .._handle import TaskClient
from .._home import Home
from .._ids import new_token
from .._records import Change, NewTask
from .._registry import Registry
from .._slots import Slots
from .._store import Store
from ..types import TaskId
from ._dispatcher import Dispatcher
from ._housekeeper import Chore, Housekeeper, Rescuer, rescue_checks
from ._keeper import RENEWALS_PER_LEASE, busy_again
from ._keeper_thread import KeeperRoom, KeeperThread, call_threadsafe
from ._reporting import Reporter
from ._run import Runner
from ._running import Running
from ._settler import Settler
from ._supervisor import Failures, supervise

STOPPING: Final = timedelta(seconds=5)
"""After ``grace``, how long bodies that were told to stop, and then their outcomes, are waited for."""

_inherited: Final[list[Worker]] = []
"""Workers that a fork has copied, kept for good: finalizing their connections would take them from the original's epoll."""

_Loop = tuple[str, Callable[[Failures], Coroutine[Any, Any, None]]]


class WorkerSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What a worker goes by."""

    lease: timedelta
    grace: timedelta
    max_tick_interval: timedelta
    store_timeout: timedelta
    max_concurrent_tasks: int
    max_threads: int
    max_processes: int | None
    max_result_bytes: int
    process_environment: Mapping[str, str] | None


class Worker:
    """Claims tasks, runs them, and settles what has become of them; lives on one event loop, its only writer.

    Its id is random and its own: whoever starts again is another worker.
    """

    def __init__(
        self,
        *,
        store: Store,
        registry: Registry,
        client: TaskClient,
        codecs: Codecs,
        settings: WorkerSettings,
        logger: logging.Logger,
    ) -> None:
        self.id = new_token()
        self._store, self._client, self._settings, self._logger = store, client, settings, logger
        self._reporter = Reporter(logger)
        self._registry, self.home = registry, Home.here()
        self._clock = store.clock
        self._running = Running()
        self._settler = Settler(store, self._changed, self._slot_freed, logger)
        # Where time cannot pass while our loop stands still, or nobody else can take a task, no thread is needed.
        apart = store.crud.capabilities.shared_between_processes and self._clock.moves_by_itself
        self._watchdog = Watchdog(self._clock, logger) if apart else None
        self._keeper_room = self._make_room(store.crud.twin() if apart else store.crud)
        self._keeper_thread = KeeperThread(self._keeper_room, self._give_up, logger) if apart else None
        slots = Slots(
            total=settings.max_concurrent_tasks,
            threads=settings.max_threads,
            processes=settings.max_processes,
        )
        self._executors = make_executors(
            self._clock,
            logger,
            process_environment=settings.process_environment,
            max_result_bytes=settings.max_result_bytes,
            max_processes=slots.limits[TaskExecutionMode.process],
            codecs=codecs,
            watchdog=self._watchdog,
        )
        self._runner = Runner(
            store=store,
            settled=client.settled,
            registry=registry,
            executors=self._executors,
            running=self._running,
            slots=slots,
            settler=self._settler,
            keeper=self._keeper_thread or self._keeper_room.keeper,
            clock=self._clock,
            codecs=codecs,
            lease=settings.lease,
            max_result_bytes=settings.max_result_bytes,
            slot_freed=self._slot_freed,
            logger=logger,
        )
        self._dispatcher = Dispatcher(
            worker=self.id,
            store=store,
            registry=registry,
            slots=slots,
            running=self._running,
            settler=self._settler,
            lease=settings.lease,
            max_tick_interval=settings.max_tick_interval,
            start=self._runner.start,
            logger=logger,
        )
        # So that two looks, one after the other, come within two leases of the last renewal.
        soon = timedelta(seconds=1.5 * busy_again(settings.lease.total_seconds()))
        rescuer = Rescuer(store, settings.lease, self._changed, logger, soon=soon)
        rescue = Chore("rescue", settings.lease / rescue_checks(settings.lease), rescuer.rescue, soon=soon)
        self._housekeeper = Housekeeper([rescue], self._clock)
        self._stop_asked = asyncio.Event()
        self._stopped = asyncio.Event()
        self._has_begun = self._has_given_up = False
        self.is_told_to_stop = False
        """Whether `stop` was called, though it may have been cut short: it takes no more tasks."""

    # --- for whoever owns it --------------------------------------------------------------------

    @property
    def is_over(self) -> bool:
        """Whether it has worked, and does no more."""
        return self._stopped.is_set()

    async def run(self) -> None:
        """Work until `stop` has been called and is through, or this is cancelled; of a worker at work: wait for its end."""
        if self._has_begun:
            await self._stopped.wait()
            return
        self._has_begun = True
        self._store.start_reach()
        longest = self._settings.lease.total_seconds() / RENEWALS_PER_LEASE
        loops: list[_Loop] = [
            ("Claiming tasks", self._dispatcher.run),
            ("Settling outcomes", self._settler.run),
            ("Housekeeping", self._housekeeper.run),
        ]
        try:
            if self._keeper_thread is not None:
                await self._keeper_thread.start()
            if self._stop_asked.is_set():
                return  # before it had begun
            for mode in {spec.options.execution_mode for spec in self._registry}:
                self._executors[mode].warm_up()
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(
                        supervise(what, loop, self._clock, self._logger, longest=longest),
                        name=f"kapusta: {what}",
                    )
                    for what, loop in loops
                ]
                if self._keeper_thread is None:
                    tasks.append(
                        group.create_task(self._keeper_room.live(is_twin=False), name="kapusta: keeper")
                    )
                await self._stop_asked.wait()
                for task in tasks:
                    task.cancel()
        finally:
            self._stopped.set()
            if not self._stop_asked.is_set():
                # Whoever ran this has cancelled it: without its keeper no body may go on, and nobody will settle it.
                self._give_up()
            self._settler.close()
            if self._keeper_thread is not None:
                await self._keeper_thread.stop()

    def wake(self) -> None:
        """There may be something to claim."""
        self._dispatcher.wake()

    async def start_new(self, task: NewTask) -> bool:
        """Store a new task and start it here, in one write; ``False``: it is not stored, or the reply was lost."""
        at_work = self._has_begun and not self._stopped.is_set() and not self._has_given_up
        return at_work and await self._dispatcher.start_new(task)

    def pause(self) -> None:
        """Claim nothing more; what runs goes on, and its leases with it."""
        self._dispatcher.is_paused = True

    def resume(self) -> None:
        """Claim again."""
        if not self._may_claim():
            return
        self._dispatcher.is_paused = False
        self._dispatcher.wake()

    async def stop(self) -> None:
        """Let running tasks finish for ``grace``, stop what can be stopped, settle, and let go of the leases."""
        self.is_told_to_stop = self._runner.is_stopping = True
        if not self._stopped.is_set():
            await self._dispatcher.stop()
            if not await self._within(self._running.empty, self._settings.grace):
                for run in self._running:
                    self._reporter.grace_passed(run)
                self._running.stop_all(StopCause.shutdown)
                await self._within(self._running.empty, STOPPING)
            await self._within(self._settler.flushed, STOPPING)
        self._stop_asked.set()
        for executor in self._executors.values():
            await executor.close()

    def abandon(self) -> None:
        """Leave it to itself: its loop is over, or is in another process."""
        if self.home.process != os.getpid():
            _inherited.append(self)
        elif self._keeper_thread is not None:
            self._keeper_thread.abandon()

    async def until_idle(self) -> None:
        """Run everything that is due, to its end, without moving time.

        Raises:
            StillBusyError: what runs waits for time to be moved.
        """
        while True:
            await self._housekeeper.do_all()
            claimed = await self._dispatcher.claim() if self._may_claim() else 0
            if not claimed and not self._running and self._settler.flushed.is_set():
                return
            if not await self._within(self._running.empty, None):
                names = [f"task {run.task.id} '{run.task.name}'" for run in self._running]
                raise StillBusyError(busy=names, seconds=0)
            await self._settler.flushed.wait()

    # --- what comes back from below -------------------------------------------------------------

    def _changed(self, changes: Sequence[Change]) -> None:
        self._client.settled([change.id for change in changes])
        if any(change.status is TaskStatus.pending for change in changes):
            self._dispatcher.wake()

    def _stop_run(self, task_id: TaskId, run: int, cause: StopCause) -> None:
        # Of a body that has ended, and whose outcome is on its way to the store, there is nothing to be said.
        stopped = self._running.stop(task_id, run, cause)
        if stopped is not None and cause is StopCause.lease_lost:
            self._reporter.lease_lost(stopped)

    def _renewed(self) -> None:
        """Pass on the new ends of leases, on the keeper's loop: ours may be blocked."""
        if self._watchdog is not None:
            self._watchdog.tell_ends()

    def _woken(self, kind: WakeKind) -> None:
        if kind == "settled":
            self._client.settled()
        else:
            self._dispatcher.wake()

    def _slot_freed(self) -> None:
        self._dispatcher.slot_freed()

    def _may_claim(self) -> bool:
        """Whether its keeper lives: without it nothing that is claimed would be safe."""
        if self._has_given_up:
            what = "Nothing is claimed without the lease keeper: shut down, and start again"
            log_event(self._logger, LogEvent.keeper_missing, what)
        return not self._has_given_up

    def _give_up(self) -> None:
        """Without its keeper a worker has no business with tasks that others may take."""
        self._has_given_up = True
        self._runner.is_stopping = True  # a claim may be under way
        self.pause()
        self._running.stop_all(StopCause.lease_lost)

    def _make_room(self, crud: BaseCRUD) -> KeeperRoom:
        """The keeper's room; what it tells us comes over to our loop, whichever it lives on."""
        return KeeperRoom(
            crud,
            self.id,
            self._settings.lease,
            self._settings.store_timeout,
            stop=lambda *stop: call_threadsafe(self.home.loop, self._stop_run, *stop),
            renewed=self._renewed,
            wake=lambda kind: call_threadsafe(self.home.loop, self._woken, kind),
            logger=self._logger,
        )

    async def _within(self, event: asyncio.Event, duration: timedelta | None) -> bool:
        """Wait for *event*, and return whether it came in time, even if it has gone again since.

        Under a manual clock, wait until the loop is idle instead.

        Raises:
            StillBusyError: under a manual clock, without a *duration*: what goes on in real time does not end.
        """
        if not self._clock.moves_by_itself:
            try:
                await self._clock.settle()
            except StillBusyError:
                if duration is None:
                    raise
            return event.is_set()
        timer = None
        waiter = asyncio.ensure_future(event.wait())
        if duration is not None:
            end = self._clock.monotonic() + duration.total_seconds()
            timer = self._clock.call_at(end, waiter.cancel)
        try:
            await asyncio.wait({waiter})
            return not waiter.cancelled()
        finally:
            waiter.cancel()
            if timer is not None:
                timer.cancel()
