"""A module whose import goes wrong where FALL says how; its parent's goes well."""

from __future__ import annotations

import ctypes
import os
import time

from tests.processes.programs import bodies

FALL = os.environ.get("FALL", "")

if FALL == "ImportError":
    raise ImportError("no such library here")
if FALL == "SystemExit":
    raise SystemExit(4)
if FALL == "os._exit":
    os._exit(9)
if FALL == "segfault":
    ctypes.string_at(0)
if FALL == "sleep":
    time.sleep(60)
if FALL == "slow":
    time.sleep(1.2)


def body(folder: str) -> str:
    """Never begins where the import fails."""
    return "done"


def nap(seconds: float) -> int:
    """Take a while, and tell which process this is."""
    time.sleep(seconds)
    return os.getpid()


def note(folder: str) -> int:
    """Leave a note, and tell which process this is."""
    bodies.note(folder, "begun")
    return os.getpid()
