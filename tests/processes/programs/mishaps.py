"""Bodies for mode `process` that meet with accidents, cause them, or look around in their child."""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from tests.processes.programs.bodies import note, notes


def stamp(folder: str) -> int:
    """Leave the time of day, and tell which process this is."""
    note(folder, "stamped", time.time())
    return os.getpid()


def hold(folder: str, key: str) -> int:
    """Be there until there is this file, and tell which process this is."""
    note(folder, "holds", time.time())
    while not Path(key).exists():
        time.sleep(0.005)
    return os.getpid()


# --- deaths -----------------------------------------------------------------------------------------


def segfault(folder: str) -> None:
    """Read where nothing is."""
    note(folder, "ends", time.time())
    ctypes.string_at(0)


def leave(folder: str, code: int) -> None:
    """End the process without a word."""
    note(folder, "ends", time.time())
    os._exit(code)


def be_killed(folder: str) -> None:
    """What is seen of a process that the kernel ends for want of memory: one SIGKILL, and no word."""
    note(folder, "ends", time.time())
    os.kill(os.getpid(), signal.SIGKILL)


def spend_all_processor_time(folder: str) -> None:
    """Have the kernel itself send SIGKILL, at a limit that root has as well."""
    spent = int(time.process_time()) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (spent, spent))
    while True:
        note(folder, "ends", time.time())
        for _ in range(100_000):
            pass


def ask_for_too_much_memory(folder: str) -> None:
    """Have the kernel refuse memory, which kills nobody."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, before[1]))
    note(folder, "ends", time.time())
    try:
        bytearray(4 << 30)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


def sleep(folder: str, seconds: float = 60) -> int:
    """Be there for a while."""
    note(folder, "began", time.time())
    time.sleep(seconds)
    note(folder, "ended", time.time())
    return os.getpid()


def sleep_through_sigterm(folder: str) -> None:
    """Be there for a while, whoever asks for an end."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(folder, "began", time.time())
    time.sleep(60)


def clear_up_at_sigterm(folder: str) -> None:
    """Take half a second to end when asked to."""

    def clear_up(*_: object) -> None:
        time.sleep(0.5)
        note(folder, "cleared")
        sys.exit(1)

    signal.signal(signal.SIGTERM, clear_up)
    note(folder, "began", time.time())
    time.sleep(60)


def sleep_with_the_interpreter_locked(folder: str) -> None:
    """Be somewhere in C for a while, where no other thread of this process gets a turn, and deaf to SIGTERM."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note(folder, "began", time.time())
    ctypes.PyDLL(None).sleep(60)


def sleep_with_a_child(folder: str) -> None:
    """Have a child of one's own, and be there for a while."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    note(folder, "began", time.time(), child.pid)
    time.sleep(60)


def leave_a_child_behind(folder: str) -> int:
    """Start a program, and do not wait for it."""
    return subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid


def fork_in_c_and_die(folder: str) -> None:
    """The same, by a library in C: Python knows nothing of the copy."""
    if ctypes.PyDLL(None).fork() == 0:
        os.setsid()
        note(folder, "escaped")
        ctypes.PyDLL(None).sleep(60)
        os._exit(0)
    _wait_for_the_copy(folder)
    be_killed(folder)


def _wait_for_the_copy(folder: str) -> None:
    while not any(words[1] == "escaped" for words in notes(folder)):
        time.sleep(0.01)


# --- outcomes that are hard to tell -----------------------------------------------------------------


class UnspeakableError(Exception):
    """Can be neither pickled nor shown."""

    def __init__(self, first: int, second: int) -> None:
        super().__init__()
        self.lock, self.first, self.second = threading.Lock(), first, second

    def __str__(self) -> str:
        raise RuntimeError("no words")

    __repr__ = __str__


def raise_the_unspeakable(folder: str) -> None:
    """Raise what cannot travel."""
    note(folder, "ends", time.time())
    raise UnspeakableError(1, 2)


def raise_half_a_character(folder: str) -> None:
    """Raise a text that no encoding takes."""
    note(folder, "ends", time.time())
    raise ValueError("before \ud800 after")


def raise_at_length(folder: str, size: int) -> None:
    """Raise a long text."""
    note(folder, "ends", time.time())
    raise ValueError("x" * size)


class Refusing:
    """Has no fields, and says no to whoever looks for some."""

    def __getattribute__(self, name: str) -> Any:
        raise KeyError(f"nobody looks at {name}")


def return_a_lock(folder: str) -> Any:
    """Return what JSON does not know."""
    note(folder, "ends", time.time())
    return threading.Lock()


def return_what_refuses(folder: str) -> Any:
    """Return what raises at whoever looks at it."""
    note(folder, "ends", time.time())
    return Refusing()


def return_at_length(folder: str, size: int) -> str:
    """Return so many letters."""
    note(folder, "ends", time.time())
    return "x" * size


def give_back(value: Any) -> Any:
    """Return the argument."""
    return value


def leave_by_sys_exit(folder: str) -> None:
    """Ask the interpreter to end."""
    note(folder, "ends", time.time())
    sys.exit(5)


# --- what a body may do to its process --------------------------------------------------------------


def close_everything(folder: str) -> str:
    """Close all that is open, as a daemon would."""
    note(folder, "ends", time.time())
    os.closerange(0, 4096)
    return "done"


def fork_and_return(folder: str) -> str:
    """Return twice."""
    pid = os.fork()
    note(folder, "returns", os.getpid())
    if pid == 0:
        return "the copy"
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return f"the original; the copy ended with {code}"


def fork_and_die(folder: str) -> None:
    """Have a copy of the process that leaves the group, as daemons do, and be killed beside it."""
    if os.fork() == 0:
        os.setsid()
        note(folder, "escaped")
        time.sleep(60)
        os._exit(0)
    _wait_for_the_copy(folder)
    be_killed(folder)


def leave_threads_behind(folder: str) -> int:
    """Start threads that the interpreter waits for at its end."""
    for _ in range(3):
        threading.Thread(target=time.sleep, args=(60,), daemon=False).start()
    return os.getpid()


def speak(text: str, *, end: str = "\n") -> None:
    """Print."""
    print(text, end=end)


def look_around() -> dict[str, Any]:
    """What there is to see."""
    return {
        "environment": dict(os.environ),
        "argv": sys.argv,
        "path": sys.path,
        "folder": str(Path.cwd()),
        "stdin": sys.stdin.read(),
    }


def fork_and_exit(code: int) -> int:
    """Have a copy end in its own way, and tell how it did."""
    pid = os.fork()
    if pid == 0:
        sys.exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
