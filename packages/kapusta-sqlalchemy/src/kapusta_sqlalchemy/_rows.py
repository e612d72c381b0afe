"""A row of the task table to a record, and what a record has to a row."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from types import NoneType
from typing import Any, Final, TypeVar

from kapusta.backend import (
    MAX_NAME,
    LogEvent,
    StoredTask,
    TaskExecutionMode,
    TaskQuery,
    TaskStatus,
    log_event,
    task_fields,
)

from ._tables import build_tables, python_type

T = TypeVar("T", bound=Sequence[Any])

_log: Final = logging.getLogger("kapusta.sqlalchemy")
_EPOCH: Final = datetime.fromisoformat("1970-01-01T00:00:00+00:00")
_MICROSECOND: Final = timedelta(microseconds=1)
_MODES: Final = {mode.value: mode for mode in TaskExecutionMode}
_STATUSES: Final = {status.value: status for status in TaskStatus}
_COLUMNS: Final = tuple(build_tables().task.columns)

_FIRST: Final = datetime.min.replace(tzinfo=UTC)
_LAST: Final = datetime.max.replace(tzinfo=UTC)
LAST_INSTANT: Final = (_LAST - _EPOCH) // _MICROSECOND
"""The greatest instant that can be read back; what would lie beyond is stored as this."""


def to_microseconds(instant: datetime) -> int:
    return (instant - _EPOCH) // _MICROSECOND


@lru_cache(maxsize=1024)  # what is written together has its instants in common
def to_instant(microseconds: int) -> datetime:
    try:
        return _EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:  # not of our writing: one such row must not make a claim of many fail
        return _FIRST if microseconds < 0 else _LAST


@lru_cache(maxsize=64)
def _to_timedelta(microseconds: int) -> timedelta:
    return timedelta(microseconds=microseconds)


def to_duration(duration: timedelta) -> int:
    """A duration in microseconds, at most what an instant can have."""
    return min(duration // _MICROSECOND, LAST_INSTANT)


def to_records(rows: Iterable[T], read: Callable[[T], StoredTask]) -> list[StoredTask]:
    """The records of rows, as *read* makes them.

    What it cannot read, because something newer has written it or somebody by hand, is left out: it must not hide
    the others. It stays where it is, and is named in the log, once.
    """
    records = []
    for row in rows:
        try:
            records.append(read(row))
        except (KeyError, TypeError, ValueError) as problem:
            _report(row[0], str(row[2])[:MAX_NAME], repr(problem))
    return records


async def as_many_as_asked(
    query: TaskQuery, fetch: Callable[[TaskQuery], Awaitable[Sequence[T]]], read: Callable[[T], StoredTask]
) -> list[StoredTask]:
    """The records of a query, whose rows *fetch* answers: what cannot be read does not count for its limit."""
    records: list[StoredTask] = []
    while True:
        rows = await fetch(query)
        records += to_records(rows, read)
        if len(rows) < query.limit or len(records) >= query.limit:
            return records[: query.limit]
        query = query.replace(after_id=rows[-1][0])


@lru_cache(maxsize=1024)
def _report(task_id: int, name: str, problem: str) -> None:
    log_event(
        _log,
        LogEvent.task_unreadable,
        "Task %s '%s' cannot be read from its row here, which is left as it is: %s",
        task_id,
        name,
        problem,
        fields=task_fields(task_id, name),
    )


def to_record(row: Sequence[Any]) -> StoredTask:
    """The record of a row whose columns are in the table's order.

    Raises:
        KeyError, TypeError, ValueError: there is none.
    """
    if (foreign := _foreign(tuple(map(type, row)))) is not None:
        raise TypeError(foreign)
    (
        id, token, name, payload, codec, mode, queue, rank, eta, deadline, options, status, run, worker, lease,
        lease_end, settled_run, failures, crashes, interruptions, cancel_requested, result, error, reason,
        created, started, finished,
    ) = row  # fmt: skip
    return StoredTask(
        id=id,
        token=token,
        name=name,
        payload=payload,
        codec=codec,
        mode=_MODES[mode],
        queue=queue,
        priority=-rank,
        eta=to_instant(eta),
        deadline=None if deadline is None else to_instant(deadline),
        options=options,
        status=_STATUSES[status],
        run=run,
        worker=worker,
        lease=None if lease is None else _to_timedelta(lease),
        lease_end=None if lease_end is None else to_instant(lease_end),
        settled_run=settled_run,
        failures=failures,
        crashes=crashes,
        interruptions=interruptions,
        cancel_requested=bool(cancel_requested),
        result=result,
        error=error,
        reason=reason,
        created=to_instant(created),
        started=None if started is None else to_instant(started),
        finished=None if finished is None else to_instant(finished),
    )


@lru_cache(maxsize=256)  # many rows have few kinds
def _foreign(types: tuple[type, ...]) -> str | None:
    """What is wrong with a row whose values are of these types, as SQLite keeps in a column what it was given."""
    for column, found in zip(_COLUMNS, types, strict=True):
        if not issubclass(found, python_type(column)) and not (column.nullable and found is NoneType):
            return f"{column.name} is of type {found.__name__}, not {python_type(column).__name__}"
    return None


def to_columns(task: StoredTask) -> dict[str, Any]:
    """The columns of a record, by name, in the table's order."""
    return {
        "id": task.id,
        "token": task.token,
        "name": task.name,
        "payload": task.payload,
        "codec": task.codec,
        "mode": task.mode.value,
        "queue": task.queue,
        "rank": -task.priority,
        "eta": to_microseconds(task.eta),
        "deadline": None if task.deadline is None else to_microseconds(task.deadline),
        "options": task.options,
        "status": task.status.value,
        "run": task.run,
        "worker": task.worker,
        "lease": None if task.lease is None else to_duration(task.lease),
        "lease_end": None if task.lease_end is None else to_microseconds(task.lease_end),
        "settled_run": task.settled_run,
        "failures": task.failures,
        "crashes": task.crashes,
        "interruptions": task.interruptions,
        "cancel_requested": task.cancel_requested,
        "result": task.result,
        "error": task.error,
        "reason": task.reason,
        "created": to_microseconds(task.created),
        "started": None if task.started is None else to_microseconds(task.started),
        "finished": None if task.finished is None else to_microseconds(task.finished),
    }
