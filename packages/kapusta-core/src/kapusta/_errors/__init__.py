"""Every error, its facts and its sentence.

An error takes facts by keyword, keeps them as attributes and builds its own message: what happened, to
which thing, and what to do next.
"""

from __future__ import annotations

from ._asking import (
    ResultNotStoredError,
    ResultUnreadableError,
    TaskFailedError,
    TaskNotFinishedError,
    TaskNotFoundError,
)
from ._plugins import (
    BackendNotFoundError,
    BackendTooNewError,
    BrokenPluginError,
    DuplicateBackendError,
    MissingPluginError,
)
from ._processes import MissingMainGuardError, TargetError
from ._root import KapustaError
from ._saying import (
    DuplicateTaskError,
    KapustaExecutionModeError,
    KapustaSyncTaskTimeoutError,
    KapustaValueError,
    NotImportableError,
    OutsideOfTaskError,
    TaskSignatureError,
    UnknownOptionError,
)
from ._stores import (
    AlreadyFinishedError,
    ClaimLostError,
    LaunchUnknownError,
    MissingDriverError,
    StillStartedError,
    StoreError,
    StoreNotMigratedError,
    StoreNotStartedError,
    StoreTooNewError,
    StoreUnavailableError,
    StoreUrlError,
    TransactionError,
)
from ._testing import StillBusyError
from ._values import ArgumentError, PayloadTooLargeError, ResultEncodingError, UnreadablePayloadError

__all__ = [
    "AlreadyFinishedError",
    "ArgumentError",
    "BackendNotFoundError",
    "BackendTooNewError",
    "BrokenPluginError",
    "ClaimLostError",
    "DuplicateBackendError",
    "DuplicateTaskError",
    "KapustaError",
    "KapustaExecutionModeError",
    "KapustaSyncTaskTimeoutError",
    "KapustaValueError",
    "LaunchUnknownError",
    "MissingDriverError",
    "MissingMainGuardError",
    "MissingPluginError",
    "NotImportableError",
    "OutsideOfTaskError",
    "PayloadTooLargeError",
    "ResultEncodingError",
    "ResultNotStoredError",
    "ResultUnreadableError",
    "StillBusyError",
    "StillStartedError",
    "StoreError",
    "StoreNotMigratedError",
    "StoreNotStartedError",
    "StoreTooNewError",
    "StoreUnavailableError",
    "StoreUrlError",
    "TargetError",
    "TaskFailedError",
    "TaskNotFinishedError",
    "TaskNotFoundError",
    "TaskSignatureError",
    "TransactionError",
    "UnknownOptionError",
    "UnreadablePayloadError",
]
