"""What a test may have left behind: asyncio tasks, threads, child processes."""

from __future__ import annotations

import asyncio
import os
import threading
from pathlib import Path

_PROC = Path("/proc")
_SHARED = ("asyncio_", "asyncio-", "waitpid-")  # asyncio's own, kept for whoever needs one next


class Leftovers:
    """Compares with what there was when it was made."""

    def __init__(self) -> None:
        self._tasks = asyncio.all_tasks()
        self._threads = set(threading.enumerate())
        self._children = children_of(os.getpid())

    def found(self) -> list[str]:
        """A line for each thing that was not there before."""
        tasks = asyncio.all_tasks() - self._tasks - {asyncio.current_task()}
        threads = set(threading.enumerate()) - self._threads
        children = children_of(os.getpid()) - self._children
        return [
            *(f"asyncio task {task.get_name()}" for task in tasks),
            *(f"thread {thread.name}" for thread in threads if not thread.name.startswith(_SHARED)),
            *(f"child process {pid}" for pid in children),
        ]


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
