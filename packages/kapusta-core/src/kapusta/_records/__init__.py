"""What is asked, stored and answered.

All records are frozen and keyword-only. Instants are aware datetimes, kept in UTC; durations are
``timedelta``. Whoever makes a record from nonsense learns it at once.
"""

from __future__ import annotations

from ._operations import (
    RESCUE_AFTER,
    Added,
    AddOutcome,
    Capabilities,
    Change,
    ChangeAnswer,
    Changed,
    ClaimRequest,
    Claims,
    Guard,
    Renewal,
    RenewAnswer,
    Renewed,
    RenewRequest,
)
from ._query import TaskQuery
from ._record import Record, from_json, to_json
from ._tasks import (
    MAX_ID,
    MAX_NAME,
    MAX_PRIORITY,
    MIN_PRIORITY,
    NewTask,
    StoredTask,
    UniqueKey,
    UniqueUntil,
    name_problem,
)

__all__ = [
    "MAX_ID",
    "MAX_NAME",
    "MAX_PRIORITY",
    "MIN_PRIORITY",
    "RESCUE_AFTER",
    "AddOutcome",
    "Added",
    "Capabilities",
    "Change",
    "ChangeAnswer",
    "Changed",
    "ClaimRequest",
    "Claims",
    "Guard",
    "NewTask",
    "Record",
    "RenewAnswer",
    "RenewRequest",
    "Renewal",
    "Renewed",
    "StoredTask",
    "TaskQuery",
    "UniqueKey",
    "UniqueUntil",
    "from_json",
    "name_problem",
    "to_json",
]
