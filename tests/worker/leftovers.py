"""What a test may have left behind: asyncio tasks, threads, child processes, connections, open databases."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

from tests.servers.owned import GUARDS

_PROC = Path("/proc")
_OPEN = Path("/proc/self/fd")
_CONNECTIONS = [path for path in (Path("/proc/self/net/tcp"), Path("/proc/self/net/tcp6")) if path.is_file()]
_SHARED = ("asyncio_", "asyncio-", "waitpid-")  # asyncio's own, kept for whoever needs one next


class Leftovers:
    """Compares with what there was when it was made."""

    def __init__(self) -> None:
        self._threads = set(threading.enumerate())
        self._children = children_of(os.getpid())
        self._open = _open_ends()

    def found(self) -> list[str]:
        """A line for each thing that was not there before, but for the servers of the tests."""
        threads = set(threading.enumerate()) - self._threads
        children = children_of(os.getpid()) - self._children - GUARDS
        return [
            *(f"thread {thread.name}" for thread in threads if not thread.name.startswith(_SHARED)),
            *(f"child process {pid}" for pid in children),
            *sorted(_open_ends() - self._open),
        ]


def tasks_of_this_loop() -> list[str]:
    """The asyncio tasks that are not done, but for the one that asks."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return [f"asyncio task {task.get_name()}" for task in others]


def children_of(parent: int) -> set[int]:
    """The process ids of a process's children, zombies included; none where there is no /proc."""
    found = set()
    for path in _PROC.glob("[0-9]*/stat"):
        try:
            after_name = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it has ended meanwhile
        if int(after_name[1]) == parent:
            found.add(int(path.parent.name))
    return found


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that is dead and only not yet reaped by its parent does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    try:
        state = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return not _PROC.is_dir()
    return state not in {"Z", "X"}


def _open_ends() -> set[str]:
    """The connections and the files of databases that this process has open; none where there is no /proc.

    Sockets within this process are not counted: an event loop wakes itself by a pair of them.
    """
    found = set()
    connections = {
        f"socket:[{line.split()[9]}]" for path in _CONNECTIONS for line in path.read_text().splitlines()[1:]
    }
    for path in _OPEN.iterdir() if _OPEN.is_dir() else ():
        try:
            end = os.readlink(path)  # noqa: PTH115 - what a link of /proc says is no path
        except OSError:
            continue  # it was the one that this function looks through
        if end in connections or ".db" in end:
            found.add(f"open {end}")
    return found
