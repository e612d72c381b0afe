"""Functions that tasks are made of, and the notes they leave: a file that several processes append to."""

from __future__ import annotations

import asyncio
import ctypes
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_engines: dict[str, Any] = {}
"""What `look` looks with, by its database; for as long as the process lives."""


def note(folder: str, *words: object) -> None:
    """Append one line, with this process's id first, in one write."""
    line = " ".join(map(str, (os.getpid(), *words))) + "\n"
    descriptor = os.open(Path(folder) / "notes", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def notes(folder: str) -> list[list[str]]:
    """All lines so far, as words; a line that is just being written is not one yet."""
    path = Path(folder) / "notes"
    written = path.read_text() if path.exists() else ""
    # One write may be seen in two parts, where it crosses the end of a page.
    return [line.split() for line in written.split("\n")[:-1]]


async def append(folder: str, number: int) -> None:
    """Leave a line."""
    note(folder, "did", number)


async def stamp(folder: str) -> None:
    """Leave the time of day."""
    note(folder, "stamped", time.time())


async def look(folder: str, url: str, order: int) -> None:
    """Say whether an order is there, as a transaction of one's own sees it."""
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import create_async_engine

    if url not in _engines:
        _engines[url] = create_async_engine(url)
    async with _engines[url].begin() as connection:
        found = (
            await connection.execute(text("SELECT id FROM orders WHERE id = :id"), {"id": order})
        ).scalar_one_or_none()
    note(folder, "missed" if found is None else "found", order)


async def wait_once(folder: str, seconds: float) -> int:
    """Take so many seconds at first; return at once when it has begun before."""
    begun = any(words[1] == "began" for words in notes(folder))
    note(folder, "began")
    if not begun:
        await asyncio.sleep(seconds)
    return os.getpid()


def block(folder: str, seconds: float) -> int:
    """Stop the whole event loop for so long."""
    note(folder, "began")
    time.sleep(seconds)
    note(folder, "ended")
    return os.getpid()


async def fail_once(folder: str) -> int:
    """Raise at first."""
    begun = any(words[1] == "began" for words in notes(folder))
    note(folder, "began", time.time())
    if not begun:
        raise RuntimeError("the first attempt fails")
    return os.getpid()


def start_a_child_and_sleep(folder: str) -> None:
    """In a process of its own: have a child that does not care for SIGTERM, and sleep for a minute."""
    program = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    child = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE)
    if child.stdout is not None:
        child.stdout.readline()
    note(folder, "sleeps", child.pid)
    time.sleep(60)


def leave_a_child_and_sleep(folder: str) -> None:
    """In a process of its own: have a child that leaves its process group, with all that it has inherited; and sleep."""
    if os.fork() == 0:
        os.setsid()
        note(folder, "left")
        time.sleep(60)
        os._exit(0)
    time.sleep(60)


def start_a_child_and_die(folder: str) -> None:
    """In a process of its own: have a child, and be killed as if there were no memory left."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    note(folder, "dies", child.pid)
    os.kill(os.getpid(), signal.SIGKILL)


def live_alone(folder: str, seconds: int, where: str) -> int:
    """In a process of its own: note which processes of earlier runs still live; stay, at first, with a child of one's own.

    *where* is ``python`` or ``c``; in C no other thread of the process gets a turn, and SIGTERM is not heard.
    """
    earlier = [int(pid) for words in notes(folder) if words[1] == "began" for pid in (words[0], words[2])]
    note(folder, "beside", *[pid for pid in earlier if _lives(pid)])
    if earlier:
        return os.getpid()
    child = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({seconds})"])
    note(folder, "began", child.pid)
    if where == "c":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        ctypes.PyDLL(None).sleep(seconds)
    else:
        time.sleep(seconds)
    child.wait()
    note(folder, "ended")
    return os.getpid()


def _lives(pid: int) -> bool:
    """Return whether a process runs: one that its frozen parent cannot reap does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in {"Z", "X"}


def keep_the_interpreter_once(folder: str, seconds: int) -> None:
    """Let no other thread of the worker go on for so long; return at once when it has begun before."""
    begun = any(words[1] == "keeps" for words in notes(folder))
    note(folder, "keeps")
    if not begun:
        ctypes.PyDLL(None).sleep(seconds)


def compute_without_the_lock(folder: str, seconds: float) -> int:
    """Spend so long in one call of C that lets other threads go on."""
    note(folder, "began")
    trial = time.monotonic()
    hashlib.pbkdf2_hmac("sha256", b"trial", b"salt", 100_000)
    rounds = round(100_000 * seconds / (time.monotonic() - trial))
    hashlib.pbkdf2_hmac("sha256", b"secret", b"salt", rounds)
    note(folder, "ended")
    return os.getpid()


def compute_with_the_lock_once(folder: str, seconds: float) -> int:
    """Spend so long in one call of C that lets no other thread go on; return at once when it has begun before."""
    begun = any(words[1] == "began" for words in notes(folder))
    note(folder, "began")
    if not begun:
        trial = time.monotonic()
        sum(range(1_000_000))
        sum(range(round(1_000_000 * seconds / (time.monotonic() - trial))))
    note(folder, "ended")
    return os.getpid()


def kill_the_worker(folder: str) -> None:
    """Take the whole process along, as a fault in a library of C would."""
    note(folder, "began")
    os.kill(os.getpid(), signal.SIGKILL)
