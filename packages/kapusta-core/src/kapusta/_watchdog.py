"""A process that kills the child processes of a worker at the end of their leases."""

from __future__ import annotations

import math
import os
import select
import signal
import struct
import sys
from pathlib import Path
from typing import Final

from ._clock import SystemClock

NOTICE: Final = struct.Struct("=qd")
"""A process group, and the moment on the machine's monotonic scale at which its lease ends."""

NO_END: Final = math.inf
"""The moment in the notice of a group that has no lease any more."""

LOOK: Final = 1.0
"""Seconds between two looks at the clock: the timer of `select` stops while the machine is suspended, a lease does not."""

_NOTICES: Final = 256
_STATE_TO_PARENT: Final = 1


def main() -> None:
    """Read notices from standard input and kill each group at its end; return when the worker is gone."""
    # A supervisor that stops a service signals all its processes. This one is needed until the worker is gone.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    worker, source, clock = os.getppid(), sys.stdin.fileno(), SystemClock()
    ends: dict[int, float] = {}
    while True:
        pause = min(ends.values()) - clock.monotonic() if ends else None
        if not select.select([source], [], [], None if pause is None else max(0.0, min(pause, LOOK)))[0]:
            for group in [group for group, end in ends.items() if end <= clock.monotonic()]:
                del ends[group]
                _kill(group, worker)
        elif notices := os.read(source, _NOTICES * NOTICE.size):
            ends.update(NOTICE.iter_unpack(notices))
            ends = {group: end for group, end in ends.items() if end != NO_END}
        else:
            break
    for group in ends:
        _kill(group, worker)  # no renewal will come


def _kill(group: int, worker: int) -> None:
    if _is_child(group, worker):
        try:
            os.killpg(group, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            return  # it has ended meanwhile; macOS says of a zombie that it may not be signalled


def _is_child(pid: int, worker: int) -> bool:
    """Return whether *pid* is still a child of the worker: once that has reaped it, the system may reuse the number."""
    stat = Path(f"/proc/{pid}/stat")
    try:
        return int(stat.read_text().rpartition(")")[2].split()[_STATE_TO_PARENT]) == worker
    except OSError:
        return not Path("/proc/self/stat").exists()  # only Linux can tell
