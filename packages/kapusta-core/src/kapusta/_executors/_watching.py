"""The watchdog process, as its worker sees it."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from datetime import timedelta
from typing import Final, Protocol

from .._clock import Clock, SystemClock
from .._events import LogEvent, log_event
from .._watchdog import NO_END, NOTICE

_PROGRAM: Final = "import sys; sys.path[:] = sys.argv[1:]; from kapusta._watchdog import main; main()"
"""The watchdog imports from where its parent does, and nowhere else, as a child does."""

_ENDING: Final = timedelta(seconds=2)
"""Time for the watchdog process to end after its pipe was closed."""


class Leased(Protocol):
    """The lease that a body runs under.

    Attributes:
        safe_until: the end of the lease on the monotonic scale; the keeper moves it, any thread may read it.
    """

    safe_until: float


class Watchdog:
    """Tells one watchdog process which child processes run, and until when; may be used from any thread.

    The worker's loop says which child runs under which lease, the keeper's thread says that leases were renewed.
    A process that has ended, or does not read, is replaced at the next notice.
    """

    def __init__(self, clock: Clock, logger: logging.Logger) -> None:
        self._clock, self._logger = clock, logger
        self._lock = threading.Lock()
        self._watched: dict[int, Leased] = {}
        self._process: _Process | None = None
        self._is_closed = False

    @property
    def pid(self) -> int | None:
        """The id of the watchdog process, if there is one."""
        return None if self._process is None else self._process.pid

    def make_ready(self) -> None:
        """Start the watchdog process unless there is one.

        Raises:
            OSError: the system has no room for another process.
        """
        with self._lock:
            self._tell(())

    def watch(self, group: int, lease: Leased) -> None:
        """Have a process group killed at the end of *lease*, until `forget`.

        Raises:
            OSError: the system has no room for a watchdog process; the group is not watched.
        """
        with self._lock:
            self._watched[group] = lease
            try:
                self._tell([group])
            except OSError:
                del self._watched[group]
                raise

    def forget(self, group: int) -> None:
        """Let a process group live on: its body has ended."""
        with self._lock:
            del self._watched[group]
            self._tell_if_possible([group])

    def tell_ends(self) -> None:
        """Tell the watchdog process all ends: a renewal has moved them."""
        with self._lock:
            if self._watched:
                self._tell_if_possible(self._watched)

    def close(self) -> None:
        """End the watchdog process, which kills what is still watched; blocks until it has ended."""
        with self._lock:
            self._is_closed = True
            process, self._process = self._process, None
        if process is not None:
            process.end()

    def _tell_if_possible(self, groups: Iterable[int]) -> None:
        try:
            self._tell(groups)
        except OSError as problem:
            log_event(
                self._logger,
                LogEvent.watchdog_missing,
                "No watchdog process can be started: %s. A child process may outlive its lease while this process "
                "is frozen",
                problem,
            )

    def _tell(self, groups: Iterable[int]) -> None:
        if self._is_closed:
            return  # what was watched has ended, or ends now
        if self._process is None:
            self._start()
            return
        try:
            self._process.write(self._notices(groups))
        except OSError as problem:
            process, self._process = self._process, None
            process.kill()
            self._start()
            what = "The watchdog process was replaced: it had ended, or did not read: %s"
            log_event(self._logger, LogEvent.watchdog_replaced, what, problem)

    def _start(self) -> None:
        self._process = _Process()
        self._process.write(self._notices(self._watched))

    def _notices(self, groups: Iterable[int]) -> list[bytes]:
        watched = self._watched
        between = (
            SystemClock().monotonic() - self._clock.monotonic()
        )  # the watchdog has the clock of the machine
        return [
            NOTICE.pack(group, watched[group].safe_until + between if group in watched else NO_END)
            for group in groups
        ]


class _Process:
    """A watchdog process and the pipe that it reads; used by one thread at a time."""

    def __init__(self) -> None:
        source, self._pipe = os.pipe()
        try:
            # A session of its own: Ctrl-C and Ctrl-Z at a terminal are not for it.
            self._process = subprocess.Popen(  # noqa: S603 - a program of ours
                [sys.executable, "-c", _PROGRAM, *sys.path],
                stdin=source,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(source)
        os.set_blocking(self._pipe, False)  # a watchdog that is frozen must not freeze the keeper's thread

    @property
    def pid(self) -> int:
        return self._process.pid

    def write(self, notices: Iterable[bytes]) -> None:
        """Write each notice in one go.

        Raises:
            OSError: the process has ended, or has not read for so long that the pipe is full.
        """
        for notice in notices:
            os.write(self._pipe, notice)  # so few bytes enter a pipe together, or not at all

    def kill(self) -> None:
        os.close(self._pipe)
        self._process.kill()
        self._process.wait()

    def end(self) -> None:
        """Close the pipe, and return when the process has ended."""
        os.close(self._pipe)
        try:
            self._process.wait(_ENDING.total_seconds())
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
