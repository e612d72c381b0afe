"""Worker processes, restarted when they die."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from datetime import timedelta
from typing import Final

from ._backoff import Backoff
from ._clock import SystemClock
from ._events import LogEvent, log_event
from ._serve import EXIT_TARGET

_RESTARTS: Final = Backoff(initial=timedelta(milliseconds=500), maximum=timedelta(seconds=30), jitter=False)
_SETTLED: Final = timedelta(minutes=1)
"""A process that lived so long begins a new count of restarts."""

_log: Final = logging.getLogger("kapusta")
_clock: Final = SystemClock()


def lead(target: str, *, processes: int, log_level: str) -> int:
    """Run worker processes until a signal; answer the exit code."""
    return asyncio.run(_Fleet(target, log_level).lead(processes))


class _Fleet:
    """Starts worker processes, and starts again those that die; written by its own event loop.

    Each process holds the reading end of a pipe, the lifeline. However the leader ends, the lifeline ends with
    it, and the processes let their tasks finish and end too.
    """

    def __init__(self, target: str, log_level: str) -> None:
        self._target, self._log_level = target, log_level
        self._lifeline, self._hold = os.pipe()
        self._alive: set[asyncio.subprocess.Process] = set()
        self._stopping = asyncio.Event()
        self._code = 0

    async def lead(self, processes: int) -> int:
        """Keep so many processes running until a signal, and answer the exit code."""
        loop = asyncio.get_running_loop()
        log_event(
            _log,
            LogEvent.processes_started,
            "Starting %s in %s; SIGTERM or Ctrl-C lets running tasks finish.",
            self._target,
            "1 process" if processes == 1 else f"{processes} processes",
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal, number)
        try:
            await asyncio.gather(*(self._keep_one(place) for place in range(processes)))
        finally:
            os.close(self._hold)
            os.close(self._lifeline)
        return self._code

    def _on_signal(self, number: signal.Signals) -> None:
        if self._stopping.is_set():
            log_event(_log, LogEvent.processes_killed, "%s again: stopping at once.", number.name)
            self._code = 128 + number
        self._send(signal.SIGKILL if self._stopping.is_set() else signal.SIGTERM)
        self._stopping.set()

    def _send(self, number: signal.Signals) -> None:
        for process in self._alive:
            if process.returncode is None:
                process.send_signal(number)

    async def _keep_one(self, place: int) -> None:
        deaths = 0
        while not self._stopping.is_set():
            began = _clock.monotonic()
            code: int | None = None
            try:
                code = await self._run_one()
            except OSError as problem:
                end = f"could not be started: {problem}"
            else:
                end = _end(code)
            if self._stopping.is_set():
                return
            if code == EXIT_TARGET:
                self._code = code  # it would say the same again
                self._stopping.set()
                self._send(signal.SIGTERM)
                return
            deaths = 1 if _clock.monotonic() - began > _SETTLED.total_seconds() else deaths + 1
            pause = _RESTARTS.delay(deaths, 1.0)
            what = "Worker process %s %s; the next one starts in %g s."
            log_event(_log, LogEvent.process_ended, what, place, end, pause.total_seconds())
            await self._pause(pause)

    async def _run_one(self) -> int:
        # A session of its own: Ctrl-C at a terminal reaches the leader alone, which passes it on once.
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            *_path_flags(),
            "-m",
            "kapusta",
            "worker",
            self._target,
            "--log-level",
            self._log_level,
            "--lifeline",
            str(self._lifeline),
            pass_fds=(self._lifeline,),
            start_new_session=True,
        )
        self._alive.add(process)
        if self._stopping.is_set():
            process.send_signal(signal.SIGTERM)  # the signal came while it was being started
        try:
            return await process.wait()
        finally:
            self._alive.discard(process)

    async def _pause(self, pause: timedelta) -> None:
        """Wait, unless a signal comes first."""
        stopping = asyncio.ensure_future(self._stopping.wait())
        timer = _clock.call_at(_clock.monotonic() + pause.total_seconds(), stopping.cancel)
        try:
            await asyncio.wait({stopping})
        finally:
            timer.cancel()
            stopping.cancel()


def _path_flags() -> list[str]:
    """Return the flags of this Python that say where modules come from: worker processes must not look elsewhere."""
    if sys.flags.isolated:
        return ["-I"]
    return ["-P"] if sys.flags.safe_path else []


def _end(code: int) -> str:
    """How a process ended, for people."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        return f"was ended by signal {-code}, {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
