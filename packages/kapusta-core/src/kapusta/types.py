"""The plain types of the public API."""

from __future__ import annotations

from datetime import timedelta
from typing import TypeAlias

Seconds: TypeAlias = float
"""A duration in seconds; an ``int`` will do."""

Duration: TypeAlias = "Seconds | timedelta"
"""Every public duration takes seconds or a ``timedelta``."""

TaskId: TypeAlias = int
"""The id of a task, of 63 bits; ids rise within a process."""

__all__ = ["Duration", "Seconds", "TaskId"]
