"""Functions that a child process can import."""

from __future__ import annotations

import os
import threading


def where() -> tuple[int, str]:
    """Say in which process and which thread it runs."""
    return os.getpid(), threading.current_thread().name
