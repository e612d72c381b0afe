"""Bodies in child processes, which are kept for the next body."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, cast

import msgspec

from .._clock import Clock, SystemClock
from .._futures import resolve
from .._naming import ImportPath
from ._attempt import (
    Attempt,
    Body,
    Died,
    Ended,
    Late,
    Raised,
    StopCause,
    Stopped,
    TimedOut,
    Unreadable,
    too_long,
)
from ._children import Child
from ._failure import RaisedInChild
from ._messages import Answer, Garbled, Job
from ._watching import Watchdog

_BEGINNINGS: Final = 3
"""How many children in a row may end before a body begins until that counts as the body's crash."""


class _NotBegun(msgspec.Struct, frozen=True):
    """The child ended before the body began; *reason* says how."""

    reason: str


class ProcessExecutor:
    """Runs bodies in child processes, one at a time in each; the idle ones are written by the worker's loop.

    A child that has answered waits for the next body, and while bodies run a spare child is started, so that its
    start-up costs no task time. One that has to be stopped, or dies, is replaced by the next start.

    With a *watchdog*, a child whose body runs is killed at the end of its lease, even if this process is frozen.
    """

    def __init__(
        self,
        clock: Clock,
        environment: Mapping[str, str] | None,
        max_result_bytes: int,
        most: int,
        pickle_secrets: Sequence[bytes] | None,
        watchdog: Watchdog | None,
    ) -> None:
        self._watchdog = watchdog
        self._clock, self._max_result_bytes, self._most = clock, max_result_bytes, most
        self._pickle_secrets = pickle_secrets
        self._environment = None if environment is None else dict(environment)
        self._idle: list[Child] = []
        self._busy = 0
        self._closed = False
        self._spare: asyncio.Task[None] | None = None

    async def run(self, attempt: Attempt, body: Body) -> Ended:
        importable = cast("ImportPath", attempt.importable)  # the runner has seen to that
        number = secrets.randbits(63)  # what a body says after its end is no answer to any later job
        job = Job(number, attempt.name, importable, attempt.payload, attempt.codec, self._latest(attempt))
        self._busy += 1
        try:
            with self._clock.busy(f"the child process of task {attempt.task_id} '{attempt.name}'"):
                ended = await self._run(job, attempt, body)
        finally:
            self._busy -= 1
        if isinstance(ended, (TimedOut, Died)):
            self.warm_up()  # its child is gone; the next body need not wait for another
        return ended

    def warm_up(self) -> None:
        """Start a child for a body that may come, unless one is idle or as many run as may."""
        if self._spare is None and not self._idle and self._busy < self._most and not self._closed:
            self._spare = asyncio.create_task(self._start_spare())

    async def close(self) -> None:
        self._closed = True
        if self._spare is not None:
            await asyncio.wait({self._spare})
        idle, self._idle = self._idle, []
        await asyncio.gather(*(child.see_off() for child in idle))
        if self._watchdog is not None:
            await asyncio.to_thread(self._watchdog.close)

    async def _run(self, job: Job, attempt: Attempt, body: Body) -> Ended:
        reason = ""
        for _ in range(_BEGINNINGS):
            try:
                child = await self._take()
            except OSError as problem:
                return Died(f"its child process could not be started: {problem}")
            try:
                self._watch(child, attempt)
            except OSError as problem:
                await self._keep(child)
                return Died(f"its child process could not be watched: {problem}")
            try:
                ended = await _Conversation(child, self._clock, attempt, body).hold(job)
            except BaseException:
                child.let_go()  # the event loop is coming down
                raise
            finally:
                self._forget(child)
            if isinstance(ended, (Died, _NotBegun)) and self._lease_has_ended(attempt):
                return Stopped(StopCause.lease_lost)  # the watchdog's work
            if not isinstance(ended, _NotBegun):
                if not isinstance(ended, (TimedOut, Stopped, Died)):
                    await self._keep(child)
                return ended
            reason = ended.reason  # nothing has happened yet: another child may do better
        return Died(f"{reason}; it was the last of {_BEGINNINGS} in a row that ended before its body began")

    def _watch(self, child: Child, attempt: Attempt) -> None:
        if self._watchdog is not None:
            self._watchdog.watch(child.pid, attempt.lease)

    def _forget(self, child: Child) -> None:
        if self._watchdog is not None:
            self._watchdog.forget(child.pid)

    def _lease_has_ended(self, attempt: Attempt) -> bool:
        """Return whether the lease has ended, where a watchdog looks after it."""
        return self._watchdog is not None and self._clock.monotonic() >= attempt.lease.safe_until

    def _latest(self, attempt: Attempt) -> float | None:
        """When the deadline comes by the clock of the child, which is the machine's: the import may take until then."""
        # Time that a test moves stands still while a child imports.
        if attempt.latest is None or not self._clock.moves_by_itself:
            return None
        return SystemClock().monotonic() + (attempt.latest - self._clock.monotonic())

    async def _keep(self, child: Child) -> None:
        if self._closed:
            await child.see_off()
        else:
            _ = child.listen()
            self._idle.append(child)

    async def _take(self) -> Child:
        if self._spare is not None and not self._idle:
            await asyncio.shield(self._spare)
        while self._idle:
            child = self._idle.pop()
            if child.is_usable:
                self.warm_up()
                return child
            await child.see_off()  # it was ended while it was idle, or a body left something that speaks
        child = await self._start()
        self.warm_up()
        return child

    async def _start(self) -> Child:
        if self._watchdog is not None:
            self._watchdog.make_ready()
        return await Child.start(self._environment, self._max_result_bytes, self._pickle_secrets)

    async def _start_spare(self) -> None:
        try:
            self._idle.append(await self._start())
        except OSError:
            return  # whoever needs a child will try, and say what is wrong
        finally:
            self._spare = None


class _Conversation:
    """One job in one child, to its end, its timeout or its stop; written by the worker's loop."""

    def __init__(self, child: Child, clock: Clock, attempt: Attempt, body: Body) -> None:
        self._child, self._clock, self._attempt, self._body = child, clock, attempt, body
        self._verdict: asyncio.Future[TimedOut | Stopped] = asyncio.get_running_loop().create_future()
        self._begun = False

    async def hold(self, job: Job) -> Ended | _NotBegun:
        """How the body ended, or the child before the body began."""
        self._child.tell(job)
        with self._body.stoppable(lambda cause: resolve(self._verdict, Stopped(cause))):
            answer = await self._answer_or_verdict(job.number)
        if isinstance(answer, (TimedOut, Stopped)):
            await self._child.kill()
            return answer
        if isinstance(answer, Garbled):
            await self._child.kill()  # what speaks on its channel is not what we have started
            return Died(f"the answer of its child process cannot be read: {answer.problem}")
        if answer is None:
            reason = await self._child.death()
            return Died(reason) if self._begun else _NotBegun(reason)
        return _ended(answer)

    async def _answer_or_verdict(self, number: int) -> Answer | Garbled | TimedOut | Stopped | None:
        cancel_timer = self._start_timer()
        try:
            while True:
                answer = await self._next_answer_or_verdict()
                if not isinstance(answer, Answer):
                    return answer
                if answer.number != number:
                    return Garbled("it is the answer to another job")
                if not answer.begun:
                    return answer
                if not self._begun:
                    self._begun = True
                    self._body.began_at = self._clock.monotonic()
                    cancel_timer()
                    cancel_timer = self._start_timer()  # anew, once: importing the body is not its time
        finally:
            cancel_timer()

    async def _next_answer_or_verdict(self) -> Answer | Garbled | TimedOut | Stopped | None:
        hearing = asyncio.create_task(self._child.hear())
        either: list[asyncio.Future[Any]] = [hearing, self._verdict]
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not hearing.done():
                hearing.cancel()
        return self._verdict.result() if self._verdict.done() else hearing.result()

    def _start_timer(self) -> Callable[[], object]:
        timeout = self._attempt.timeout
        if timeout is None:
            return lambda: None
        end = self._clock.monotonic() + timeout.total_seconds()
        error = too_long(self._attempt, "the body" if self._begun else "importing it in a child process")
        return self._clock.call_at(end, lambda: resolve(self._verdict, TimedOut(error))).cancel


def _ended(answer: Answer) -> Ended:
    if answer.late:
        return Late()
    if answer.returned is not None:
        return answer.returned
    if answer.unreadable is not None:
        return Unreadable(answer.unreadable)
    trace = answer.raised or ""
    return Raised(trace, answer.brief, RaisedInChild(trace))
