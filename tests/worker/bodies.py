"""Bodies for tasks of mode `process`: a child imports them from here, and nothing else."""

from __future__ import annotations

import os
import signal


def leave() -> None:
    """Ask the interpreter to end."""
    raise SystemExit(3)


def die(path: str) -> None:
    """Leave a line, and be killed."""
    with open(path, "a") as file:  # noqa: PTH123 - a child imports as little as possible
        file.write("begun\n")
    os.kill(os.getpid(), signal.SIGKILL)


def run_out_of_time() -> None:
    """Raise what a timeout of a socket raises."""
    raise TimeoutError("the peer did not answer")


def divide_by_zero() -> None:
    """Fail."""
    raise ZeroDivisionError("what the body raised")


def price_list() -> object:
    """Return what JSON has no words for."""
    return {1: b"x"}


def wait_forever() -> None:
    """Wait for a signal that kills."""
    while True:
        signal.pause()
