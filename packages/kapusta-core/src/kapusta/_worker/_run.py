"""One claimed task, from claim to settlement."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from .._arguments import Arguments
from .._clock import Clock
from .._codec import Codecs
from .._enums import TaskExecutionMode, TaskStatus
from .._errors import StoreError, UnreadablePayloadError
from .._events import LogEvent
from .._executors._attempt import (
    Attempt,
    Died,
    Ended,
    Executor,
    Late,
    Raised,
    ResultEncoder,
    Returned,
    StopCause,
    Stopped,
    TimedOut,
    Unreadable,
)
from .._futures import resolve
from .._options import UNREADABLE
from .._outcomes import (
    crashed,
    failed,
    interrupted,
    released,
    stopped,
    succeeded,
    uncommitted,
    unreadable,
    will_retry,
)
from .._records import Change, ChangeAnswer, TaskQuery
from .._registry import Registry
from .._slots import Slots
from .._spec import TaskSpec
from .._store import Store
from ..types import TaskId
from ._finishing import Finisher, set_finisher
from ._keeper import Lease, LeaseKeeper
from ._reporting import Reporter
from ._running import Run, Running
from ._settler import Settler


class Runner:
    """Runs claimed tasks, each in an asyncio task of its own; used by the worker's loop."""

    def __init__(
        self,
        *,
        store: Store,
        settled: Callable[[Sequence[TaskId]], object],
        registry: Registry,
        executors: Mapping[TaskExecutionMode, Executor],
        running: Running,
        slots: Slots,
        settler: Settler,
        keeper: LeaseKeeper,
        clock: Clock,
        codecs: Codecs,
        lease: timedelta,
        max_result_bytes: int,
        slot_freed: Callable[[], object],
        logger: logging.Logger,
    ) -> None:
        self._store, self._settled = store, settled
        self._registry, self._executors = registry, executors
        self._running, self._slots, self._settler, self._keeper = running, slots, settler, keeper
        self._clock, self._codecs, self._lease = clock, codecs, lease.total_seconds()
        self._max_result_bytes, self._slot_freed, self._reporter = (
            max_result_bytes,
            slot_freed,
            Reporter(logger),
        )
        self._encoders: dict[tuple[str, str], ResultEncoder] = {}
        self._tasks: set[asyncio.Task[None]] = set()  # the event loop itself keeps none alive
        # Not that of a launch, which may be a request of the application's.
        self._context = contextvars.copy_context()
        self.is_stopping = False
        """Whether what is claimed from now on is released instead of run."""

    def start(self, runs: list[Run]) -> None:
        """Take over what was just claimed; the leases of all of it are kept from now on."""
        for run in runs:
            task, safe_until = run.task, run.claimed_at + self._lease
            run.lease = Lease(task.id, task.run, safe_until, task.name, task.failures + 1)
        self._keeper.keep([run.lease for run in runs])
        loop = asyncio.get_running_loop()
        for run in runs:
            self._slots.take(run.task.mode)
            earlier = self._running.add(run)
            if earlier is not None:
                earlier.body.stop(StopCause.lease_lost)  # it was taken from us, and has come back
            # Of its tasks a loop keeps weak references only: the run keeps its own.
            run.living = loop.create_task(
                self._live(run, earlier),
                name=f"kapusta.task-{run.task.id}",
                context=self._context.copy(),
            )

    def _spawn(self, run: Run, life: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(life, name=f"kapusta.task-{run.task.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _live(self, run: Run, earlier: Run | None) -> None:
        is_settling = False
        try:
            if earlier is not None:
                await earlier.over()
            ended = await self._attempt(run)
            change = await self._decide(run, ended)
            if change is None:
                self._abandon(run, ended)
            else:
                self._settler.settle(change, partial(self._answered, run, change))
                is_settling = True
        except asyncio.CancelledError:
            what = "was cancelled from outside, and is rescued when its lease ends"
            self._reporter.log(LogEvent.task_dropped, run, what)
            raise
        except Exception as problem:  # noqa: BLE001 - logged with what it is; no run harms another
            self._reporter.log(LogEvent.task_broken, run, "is abandoned: its run failed", exc_info=problem)
        finally:
            # Else it ends with the store's answer: a run whose outcome is on its way must not be given back.
            if not is_settling:
                self._end(run, abandoned=True)

    def _answered(
        self, run: Run, change: Change, answer: ChangeAnswer | None, problem: Exception | None
    ) -> None:
        """The store has written the outcome of *run* or refused it, or it could not be written."""
        try:
            self._reporter.answer(run, change, answer, problem)
        finally:
            self._end(run, abandoned=answer is None)

    def _end(self, run: Run, *, abandoned: bool) -> None:
        run.raised = None  # its traceback has the frames of the body, and what a body starts may keep the run
        self._keeper.drop(run.task.id, run.task.run)
        self._running.remove(run, abandoned=abandoned)

    def _abandon(self, run: Run, ended: Ended | Change) -> None:
        """Leave a body to itself that cannot be stopped. If it lost its lease, what it will have said is sent all the same.

        Whether that counts, the store knows: nobody may have taken the task, or it is held for the very crash.
        """
        what = "cannot be stopped; it is abandoned, and rescued when its lease ends"
        self._reporter.log(LogEvent.task_abandoned, run, what)
        if isinstance(ended, Stopped) and ended.cause is StopCause.lease_lost and ended.running is not None:
            ended.running.add_done_callback(lambda running: self._settle_late(run, running.result()))

    def _settle_late(self, run: Run, ended: Ended) -> None:
        self._note_end(run, ended)
        change = self._after(run, ended)
        if change is None:
            return

        def answered(answer: ChangeAnswer | None, problem: Exception | None) -> None:
            self._reporter.answer(run, change, answer, problem)
            run.raised = None
            if answer is not None:
                self._running.forget(run)

        self._settler.settle(change, answered)

    async def _attempt(self, run: Run) -> Ended | Change:
        """Run the body; a change instead where it does not come to that."""
        slot_kept_by: asyncio.Future[Any] | None = None
        try:
            begun = self._begin(run)
            if isinstance(begun, Change):
                return begun
            self._reporter.log(LogEvent.task_started, run, "started")
            set_finisher(Finisher(self._store, run, begun.encode, self._committed))
            if run.task.mode is not TaskExecutionMode.process:  # there the child says when
                run.body.began_at = self._clock.monotonic()
            ended = await self._executors[run.task.mode].run(begun, run.body)
            self._note_end(run, ended)
            if isinstance(ended, (TimedOut, Stopped)):
                slot_kept_by = ended.running
            return ended
        finally:
            if slot_kept_by is None:
                self._free(run)
            else:
                slot_kept_by.add_done_callback(lambda _: self._free(run))

    def _note_end(self, run: Run, ended: Ended) -> None:
        if run.body.began_at is not None:
            run.duration = self._clock.monotonic() - run.body.began_at
        run.raised = ended if isinstance(ended, Raised) else None

    def _begin(self, run: Run) -> Attempt | Change:
        task, spec = run.task, self._registry.get(run.task.name)
        if spec is None or self.is_stopping or run.body.stop_cause is not None or self._is_late(run):
            return released(task, "its worker could not begin it")
        try:
            _check_fit(spec, run)
            args, kwargs = spec.arguments.decode(task.payload, codec=task.codec, stored_as=task.name)
        except UnreadablePayloadError as problem:
            return unreadable(task, run.policy, str(problem))
        return Attempt(
            task_id=task.id,
            name=task.name,
            number=task.failures + 1,
            function=spec.function,
            args=args,
            kwargs=kwargs,
            payload=task.payload,
            codec=task.codec,
            importable=spec.importable,
            latest=run.latest,
            lease=run.lease,
            timeout=run.policy.timeout,
            encode=self._encoder(task.name, task.codec, spec.arguments),
        )

    def _encoder(self, name: str, codec: str, arguments: Arguments) -> ResultEncoder:
        encoder = self._encoders.get((name, codec))
        if encoder is None:
            encoder = ResultEncoder(name, self._codecs.named(codec), self._max_result_bytes, arguments)
            self._encoders[name, codec] = encoder
        return encoder

    def _is_late(self, run: Run) -> bool:
        """Whether, by our own clock from before the claim was sent, its lease or its deadline has passed."""
        now = self._clock.monotonic()
        return now - run.claimed_at >= self._lease or (run.latest is not None and now >= run.latest)

    async def _decide(self, run: Run, ended: Ended | Change) -> Change | None:
        """The change that carries out what has become of a run; ``None``: it is abandoned."""
        if isinstance(ended, Change):
            return ended
        # The next attempt must not start beside a body that could not be stopped.
        running = ended.running if isinstance(ended, TimedOut) else None
        if running and will_retry(run.task, run.policy) and not await self._outlive(run, running):
            return None
        return self._after(run, ended)

    def _after(self, run: Run, ended: Ended) -> Change | None:
        change: Change | None
        if run.finished_within and isinstance(ended, (Returned, Raised)):
            # If its transaction has committed, the answer to this is `already`; if not, nothing of it has happened.
            error, brief = (ended.error, ended.brief) if isinstance(ended, Raised) else (None, None)
            chance = random.random()  # noqa: S311 - jitter
            return uncommitted(run.task, run.policy, brief, error=error, chance=chance)
        match ended:
            case Returned(result, problem):
                if problem is not None:
                    self._reporter.log(LogEvent.task_result_problem, run, problem)
                change = succeeded(run.task, result, problem)
            case Raised(error):
                change = self._failed(run, TaskStatus.error, error)
            case TimedOut(error, _):
                change = self._failed(run, TaskStatus.timeout, error)
            case Died(reason):
                change = crashed(run.task, run.policy, reason)
            case Unreadable(problem):
                change = unreadable(run.task, run.policy, problem)
            case Late():
                change = released(run.task, "its deadline came while it was imported in a child process")
            case Stopped(cause, running):
                change = None if running is not None else _after_stop(run, cause)
        return change

    def _failed(self, run: Run, status: TaskStatus, error: str) -> Change:
        now = run.store_now + timedelta(seconds=self._clock.monotonic() - run.claimed_at)
        chance = random.random()  # noqa: S311 - jitter
        return failed(run.task, run.policy, status, error, chance=chance, now=now)  # type: ignore[arg-type]  # error or timeout

    async def _outlive(self, run: Run, running: asyncio.Future[Any]) -> bool:
        """Wait for a body that cannot be stopped; whether it ended before the run itself was stopped."""
        stop: asyncio.Future[StopCause] = asyncio.get_running_loop().create_future()
        with run.body.stoppable(lambda cause: resolve(stop, cause)):
            await asyncio.wait([running, stop], return_when=asyncio.FIRST_COMPLETED)
        return running.done()

    def _committed(self, run: Run) -> None:
        """A transaction of its body's is over that held its outcome; whether that is stored, the store knows."""
        self._settled([run.task.id])
        run.past_lease = True
        _ = self._spawn(run, self._resolve_doubt(run))

    async def _resolve_doubt(self, run: Run) -> None:
        """Let go of the lease if the outcome is stored, so that the body may go on; of none that is still needed."""
        is_stored = False
        try:
            found = await self._store.find(TaskQuery(ids=frozenset({run.task.id})))
            is_stored = all(task.settled_run == run.task.run for task in found)
        except StoreError as problem:
            what = f"keeps its lease, as its outcome may not be stored: {problem}"
            self._reporter.log(LogEvent.task_lease_kept, run, what)
        finally:
            run.past_lease = is_stored
            if is_stored:
                self._keeper.drop(run.task.id, run.task.run)
            elif run.lost_meanwhile:
                run.body.stop(StopCause.lease_lost)

    def _free(self, run: Run) -> None:
        self._slots.give_back(run.task.mode)
        self._slot_freed()


def _after_stop(run: Run, cause: StopCause) -> Change:
    if cause is StopCause.shutdown:
        return interrupted(run.task, run.policy, "stopped by a shutdown of its worker")
    if cause is StopCause.cancelled:
        return stopped(run.task, "cancelled while it ran")
    return crashed(run.task, run.policy, "stopped because its lease could not be renewed in time")


def _check_fit(spec: TaskSpec, run: Run) -> None:
    """Raise if a stored task cannot run here in the mode, and by the options, that it was launched with."""
    problem, mode = None, run.task.mode
    if run.policy is UNREADABLE:
        problem = "the options stored with them are none that this version knows"
    elif spec.is_async != (mode is TaskExecutionMode.async_):
        kind = "an `async def`" if spec.is_async else "a plain"
        problem = f"it was launched in mode '{mode}', and is {kind} function here"
    elif mode is TaskExecutionMode.process and spec.importable is None:
        problem = "it was launched in mode 'process', and cannot be imported by another process here"
    if problem is not None:
        raise UnreadablePayloadError(task=spec.name, problem=problem)
