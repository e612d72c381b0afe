"""The names that 0.1.5 had in ``kapusta.core``."""

from __future__ import annotations

from ._errors import KapustaError, KapustaExecutionModeError, KapustaSyncTaskTimeoutError, KapustaValueError
from ._kapusta import Kapusta
from ._task import Task

__all__ = [
    "Kapusta",
    "KapustaError",
    "KapustaExecutionModeError",
    "KapustaSyncTaskTimeoutError",
    "KapustaValueError",
    "Task",
]
