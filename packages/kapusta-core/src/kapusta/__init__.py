"""Kapusta: the task queue for the few tasks that must not be lost. The door of the application author."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from . import _installed  # noqa: F401 - refuses a mixture before anything of it is imported
from ._backoff import Backoff
from ._crud import BaseCRUD
from ._enums import OnCrash, TaskExecutionMode, TaskStatus
from ._errors import (
    AlreadyFinishedError,
    ArgumentError,
    BackendNotFoundError,
    BackendTooNewError,
    BrokenPluginError,
    ClaimLostError,
    DuplicateBackendError,
    DuplicateTaskError,
    KapustaError,
    KapustaExecutionModeError,
    KapustaSyncTaskTimeoutError,
    KapustaValueError,
    LaunchUnknownError,
    MissingDriverError,
    MissingMainGuardError,
    MissingPluginError,
    NotImportableError,
    OutsideOfTaskError,
    PayloadTooLargeError,
    ResultEncodingError,
    ResultNotStoredError,
    ResultUnreadableError,
    StillBusyError,
    StillStartedError,
    StoreError,
    StoreNotMigratedError,
    StoreNotStartedError,
    StoreTooNewError,
    StoreUnavailableError,
    StoreUrlError,
    TaskFailedError,
    TaskNotFinishedError,
    TaskNotFoundError,
    TaskSignatureError,
    TransactionError,
    UnknownOptionError,
)
from ._handle import TaskHandle
from ._kapusta import Kapusta
from ._pickle_codec import PickleCodec
from ._task import Task
from .types import Seconds, TaskId

__all__ = [
    "AlreadyFinishedError",
    "ArgumentError",
    "BackendNotFoundError",
    "BackendTooNewError",
    "Backoff",
    "BaseCRUD",
    "BrokenPluginError",
    "ClaimLostError",
    "DuplicateBackendError",
    "DuplicateTaskError",
    "Kapusta",
    "KapustaError",
    "KapustaExecutionModeError",
    "KapustaSyncTaskTimeoutError",
    "KapustaValueError",
    "LaunchUnknownError",
    "MissingDriverError",
    "MissingMainGuardError",
    "MissingPluginError",
    "NotImportableError",
    "OnCrash",
    "OutsideOfTaskError",
    "PayloadTooLargeError",
    "PickleCodec",
    "ResultEncodingError",
    "ResultNotStoredError",
    "ResultUnreadableError",
    "Seconds",
    "StillBusyError",
    "StillStartedError",
    "StoreError",
    "StoreNotMigratedError",
    "StoreNotStartedError",
    "StoreTooNewError",
    "StoreUnavailableError",
    "StoreUrlError",
    "Task",
    "TaskExecutionMode",
    "TaskFailedError",
    "TaskHandle",
    "TaskId",
    "TaskNotFinishedError",
    "TaskNotFoundError",
    "TaskSignatureError",
    "TaskStatus",
    "TransactionError",
    "UnknownOptionError",
]

if TYPE_CHECKING:  # what a plugin exports, as far as it is known here; its own package knows its options
    AlchemyCRUD: Callable[..., BaseCRUD]
    MemoryCRUD: Callable[..., BaseCRUD]
else:

    def __getattr__(name: str) -> Any:
        """A backend that an installed plugin exports: ``from kapusta import AlchemyCRUD``."""
        if name.startswith("_"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from ._plugins import export

        return export(name, module=__name__)
