"""Children, their channels and their end."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Mapping
from datetime import timedelta
from typing import Final, cast

import msgspec

from .._clock import Clock
from .._naming import ImportPath
from ._attempt import Attempt, Body, Died, Ended, Raised, Returned, Stopped, TimedOut, Unreadable, too_long
from ._frames import frame, read_frame

KILL_GRACE: Final = timedelta(seconds=2)
"""How long a child has between SIGTERM and SIGKILL, in real time."""


class Job(msgspec.Struct, frozen=True):
    """What a child is told: where the function is, how to find it, and the encoded arguments."""

    task: str
    function: ImportPath
    payload: bytes
    path: list[str]
    argv: list[str]
    max_result_bytes: int


class Answer(msgspec.Struct, frozen=True):
    """What a child answers: one of these, by the name of what ended the body."""

    returned: Returned | None = None
    raised: str | None = None
    unreadable: str | None = None


class ProcessExecutor:
    """Runs each body in a child process of its own, in a session of its own; used by the worker's loop.

    The child and whatever it started are killed as one process group, first with SIGTERM, then with
    SIGKILL. A child whose parent is gone ends itself.
    """

    def __init__(self, clock: Clock, environment: Mapping[str, str] | None, max_result_bytes: int) -> None:
        self._clock, self._max_result_bytes = clock, max_result_bytes
        self._environment = None if environment is None else dict(environment)

    async def run(self, attempt: Attempt, body: Body) -> Ended:
        importable = cast("ImportPath", attempt.importable)  # the runner has seen to that
        job = Job(attempt.name, importable, attempt.payload, sys.path, sys.argv, self._max_result_bytes)
        with self._clock.busy(f"the child process of task {attempt.task_id} '{attempt.name}'"):
            ours, theirs = socket.socketpair()
            with theirs:
                try:
                    child = await self._spawn(theirs)
                except OSError as problem:
                    ours.close()
                    return Died(f"its child process could not be started: {problem}")
            reader, writer = await asyncio.open_connection(sock=ours)
            try:
                return await self._converse(attempt, body, job, child, reader, writer)
            finally:
                # Also when this coroutine is cancelled: the child sees its channel close and ends itself.
                writer.close()

    async def close(self) -> None:
        """Nothing is kept: a child lives for one body."""

    async def _spawn(self, channel: socket.socket) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "kapusta._child",
            str(channel.fileno()),
            stdin=asyncio.subprocess.DEVNULL,
            pass_fds=(channel.fileno(),),
            env=self._environment,
            start_new_session=True,
        )

    async def _converse(
        self,
        attempt: Attempt,
        body: Body,
        job: Job,
        child: asyncio.subprocess.Process,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> Ended:
        verdict: Ended | None = None
        over = asyncio.Event()

        def end_with(ended: Ended) -> None:
            nonlocal verdict
            verdict = verdict or ended
            over.set()

        timer = None
        if attempt.timeout is not None:
            end = self._clock.monotonic() + attempt.timeout.total_seconds()
            timer = self._clock.call_at(end, lambda: end_with(TimedOut(too_long(attempt))))
        writer.write(frame(msgspec.msgpack.encode(job)))
        answer = asyncio.create_task(read_frame(reader))
        answer.add_done_callback(lambda _: over.set())
        with body.stoppable(lambda cause: end_with(Stopped(cause))):
            try:
                await over.wait()
            finally:
                if timer is not None:
                    timer.cancel()
        if verdict is not None:
            answer.cancel()
            await _kill(child)
            return verdict
        data = answer.result()
        writer.close()
        await _see_off(child)
        return _death(child.returncode) if data is None else _read(data)


def _read(data: bytes) -> Ended:
    answer = msgspec.msgpack.decode(data, type=Answer)
    if answer.returned is not None:
        return answer.returned
    if answer.unreadable is not None:
        return Unreadable(answer.unreadable)
    return Raised(answer.raised or "the child process answered nothing")


def _death(code: int | None) -> Died:
    if code is not None and code < 0:
        try:
            name = signal.Signals(-code).name
        except ValueError:
            name = "unknown"
        hint = " (out of memory?)" if -code == signal.SIGKILL else ""
        return Died(f"its child process was ended by signal {-code}, {name}{hint}")
    return Died(f"its child process ended with exit code {code} before it had answered")


async def _see_off(child: asyncio.subprocess.Process) -> None:
    """Let a child that has said all it had to say end by itself; kill it if it does not."""
    try:
        await asyncio.wait_for(asyncio.shield(child.wait()), KILL_GRACE.total_seconds())
    except TimeoutError:
        await _kill(child)


async def _kill(child: asyncio.subprocess.Process) -> None:
    """End a child and its whole process group."""
    _signal_group(child.pid, signal.SIGTERM)
    try:
        await asyncio.wait_for(asyncio.shield(child.wait()), KILL_GRACE.total_seconds())
    except TimeoutError:
        pass
    finally:
        # The child may be gone and its own children not; the group's number is theirs while one lives.
        _signal_group(child.pid, signal.SIGKILL)
    await child.wait()


def _signal_group(pid: int, number: signal.Signals) -> None:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return  # all of them are gone
