"""Daemon threads that keep their slot until they end."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from queue import SimpleQueue

from .._clock import Clock
from .._futures import resolve
from ._attempt import Attempt, Body, Ended, Raised, Stopped, TimedOut, too_long

_Job = Callable[[], object]


class _Thread:
    """A daemon thread that runs one job after another; its queue is written by the loop only."""

    def __init__(self) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # A daemon: a stuck body must not keep the interpreter from ending, as ThreadPoolExecutor's would.
        threading.Thread(target=self._work, name="kapusta-task", daemon=True).start()

    def run(self, job: _Job | None) -> None:
        self._jobs.put(job)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            del job  # it holds the outcome, and with an exception the frames of the body


class ThreadExecutor:
    """Runs plain functions in threads of its own; the idle ones are written by the worker's loop.

    A thread cannot be stopped. A body that outlives its timeout or its stop is reported, with a future
    that is done when the thread is.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._threads: set[_Thread] = set()
        self._idle: list[_Thread] = []

    def warm_up(self) -> None:
        """Nothing is to be made ready: a thread starts in less than a millisecond."""

    async def run(self, attempt: Attempt, body: Body) -> Ended:
        loop = asyncio.get_running_loop()
        over: asyncio.Future[Ended] = loop.create_future()
        verdict: asyncio.Future[Ended] = loop.create_future()
        self._start(loop, contextvars.copy_context(), attempt, over)
        over.add_done_callback(lambda done: resolve(verdict, done.result()))
        timer = None
        if attempt.timeout is not None:
            end = self._clock.monotonic() + attempt.timeout.total_seconds()
            timer = self._clock.call_at(end, lambda: resolve(verdict, TimedOut(too_long(attempt), over)))
        with (
            self._clock.busy(f"the thread of task {attempt.task_id} '{attempt.name}'"),
            body.stoppable(lambda cause: resolve(verdict, Stopped(cause, over))),
        ):
            try:
                return await verdict
            finally:
                if timer is not None:
                    timer.cancel()

    async def close(self) -> None:
        # Those that are at work end after it: nobody may be there then to tell them so.
        for thread in self._threads:
            thread.run(None)
        self._threads.clear()
        self._idle.clear()

    def _start(
        self,
        loop: asyncio.AbstractEventLoop,
        context: contextvars.Context,
        attempt: Attempt,
        over: asyncio.Future[Ended],
    ) -> None:
        if self._idle:
            thread = self._idle.pop()
        else:
            thread = _Thread()
            self._threads.add(thread)

        def finish(ended: Ended) -> None:
            if thread in self._threads:  # else it has been told to end
                self._idle.append(thread)
            resolve(over, ended)

        def job() -> None:
            ended = context.run(_call, attempt)
            try:
                loop.call_soon_threadsafe(finish, ended)
            except RuntimeError:
                thread.run(None)  # the loop is gone, and with it whoever waited

        thread.run(job)


def _call(attempt: Attempt) -> Ended:
    try:
        return attempt.encode(attempt.function(*attempt.args, **attempt.kwargs))
    except BaseException as error:  # noqa: BLE001 - whatever it is ends this body, and never the thread
        return Raised.of(error)
