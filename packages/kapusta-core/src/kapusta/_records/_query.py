"""Which tasks to find."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any, Final

import msgspec

from .._enums import TaskStatus
from ._operations import Guard
from ._record import Record


class TaskQuery(Record, frozen=True, kw_only=True):
    """Which tasks to find; all that is given must hold, in id order.

    What is a set here may be given as any collection, and a status or a guard by its word.

    Attributes:
        guards: at least one of these holds (of ``expired``, ``overdue``, ``resting``, ``running``, ``waiting``).
        finished_before: it reached a final status before this.
        after_id: only ids greater than this.
        limit: at most so many.
    """

    ids: frozenset[int] | None = None
    statuses: frozenset[TaskStatus] | None = None
    names: frozenset[str] | None = None
    queues: frozenset[str] | None = None
    guards: frozenset[Guard] | None = None
    finished_before: datetime | None = None
    after_id: int = 0
    limit: int = 100

    def __post_init__(self) -> None:
        for field, (kind, what, remedy) in _SETS.items():
            if (given := getattr(self, field)) is not None:
                found = _frozen(field, given, kind, f"which is no {what}. {remedy}")
                msgspec.structs.force_setattr(self, field, found)
        for field in ("after_id", "limit"):
            number = getattr(self, field)
            if isinstance(number, bool) or not isinstance(number, int) or number < 0:
                raise ValueError(
                    f"TaskQuery({field}={number!r}) is no count. Give a whole number, 0 or more."
                )
        if self.guards is not None and Guard.holder in self.guards:
            raise ValueError("TaskQuery(guards=...) cannot ask for holder: a query has no worker")
        if self.finished_before is not None and self.finished_before.tzinfo is None:
            raise ValueError(f"TaskQuery(finished_before={self.finished_before}) is naive")


def _id(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError  # noqa: TRY004 - a record refuses what it is given by one kind of error
    return int(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError  # noqa: TRY004 - likewise
    return value


_SETS: Final[dict[str, tuple[Callable[[Any], object], str, str]]] = {
    "ids": (_id, "id", "Give whole numbers."),
    "statuses": (TaskStatus, "status", f"Choose of: {', '.join(TaskStatus)}."),
    "names": (_text, "name", "Give text."),
    "queues": (_text, "queue", "Give text."),
    "guards": (
        Guard,
        "guard",
        f"Choose of: {', '.join(each for each in Guard if each is not Guard.holder)}.",
    ),
}
"""What the sets of a `TaskQuery` hold: what makes it of what is given, what it is called, and what to give."""


def _frozen(field: str, given: Any, kind: Callable[[Any], object], otherwise: str) -> frozenset[object]:
    if isinstance(given, (str, bytes)) or not isinstance(given, Iterable):
        raise ValueError(  # noqa: TRY004 - likewise
            f"TaskQuery({field}={given!r}) is no set. Give one, also where it holds one thing only."
        )
    found = set()
    for each in given:
        try:
            found.add(kind(each))
        except ValueError:
            raise ValueError(f"TaskQuery({field}=...) holds {each!r}, {otherwise}") from None
    return frozenset(found)
