"""The names that 0.1.5 had in ``kapusta.models``."""

from __future__ import annotations

from ._enums import TaskExecutionMode, TaskStatus

__all__ = ["TaskExecutionMode", "TaskStatus"]
