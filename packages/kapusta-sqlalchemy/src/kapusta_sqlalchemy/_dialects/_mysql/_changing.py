"""Changes: the rows are locked in id order and answered for, then all that are alike are written at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

from aiomysql import Error  # type: ignore[import-untyped]  # the driver ships no types

from kapusta.backend import FINAL, RESCUE_AFTER, Change, ChangeAnswer, Changed, Guard, TaskStatus

from ..._rows import to_duration
from ._session import BEGIN, COMMIT, Session, Statement
from ._sql import MOST_ROWS, Sql, marks, now_is, numbers, portions
from ._trouble import LOCKED, code_of

_Rows: TypeAlias = dict[int, Sequence[Any]]

_SETTLED: Final = "settled_run <=> run"
_GUARDS: Final = {
    Guard.holder: f"(status IN ('started', 'held') AND NOT ({_SETTLED}))",
    Guard.expired: f"(status = 'started' AND lease_end < @kapusta_now - lease DIV {RESCUE_AFTER})",
    Guard.overdue: "(status = 'pending' AND deadline <= @kapusta_now)",
    Guard.resting: "status <> 'started'",
    Guard.running: "status = 'started'",
    Guard.waiting: "status IN ('pending', 'held')",
}
"""What must hold, in SQL; of ``holder`` also the worker."""

_LOCK: Final = f"""
SELECT id, run, worker, {_SETTLED}, {", ".join(_GUARDS.values())} FROM {{task}} FORCE INDEX (PRIMARY)
WHERE id IN ({{0}}) ORDER BY id FOR UPDATE"""

# Whoever has locked the row of a lease that has run out may be its own worker's body, in a transaction: nobody waits
# there, to be the first when the lock is gone. The keeper asks more often.
_LOCK_AT_ONCE: Final = f"{_LOCK} NOWAIT"

_WRITE: Final = "UPDATE {task} FORCE INDEX (PRIMARY) SET {0} WHERE id IN ({1}) AND run = %s AND {2}"


async def change(session: Session, sql: Sql, offset: int, changes: Sequence[Change]) -> list[Changed]:
    ordered = sorted(changes, key=lambda change: change.id)
    if any(change.guard is Guard.expired for change in ordered):
        rows = await _rescue(session, sql, offset, ordered)
    else:
        rows = await _carry_out(session, sql, offset, ordered, _LOCK)
    return [Changed(id=change.id, answer=_answer(change, rows.get(change.id))) for change in changes]


async def _rescue(session: Session, sql: Sql, offset: int, changes: Sequence[Change]) -> _Rows:
    """All at once, or, if one of the rows is locked, one by one without it."""
    try:
        return await _carry_out(session, sql, offset, changes, _LOCK_AT_ONCE)
    except Error as error:
        if code_of(error) not in LOCKED:
            raise
    if len(changes) == 1:
        return {}
    return {
        id: row for change in changes for id, row in (await _rescue(session, sql, offset, [change])).items()
    }


async def _carry_out(session: Session, sql: Sql, offset: int, ordered: Sequence[Change], lock: str) -> _Rows:
    """Lock, write what holds, and answer the rows as they were found."""
    locking = [
        (sql.fill(lock, numbers(change.id for change in ordered[start : start + MOST_ROWS])), ())
        for start in range(0, len(ordered), MOST_ROWS)
    ]
    results = await session.ask(
        now_is(offset), BEGIN, *locking, *_writing(sql, session.longest, ordered), COMMIT
    )
    return {row[0]: row for found in results[2 : 2 + len(locking)] for row in found}


def _answer(change: Change, row: Sequence[Any] | None) -> ChangeAnswer:
    """What the row, as it was locked, makes of the change: its UPDATE has asked the same."""
    if row is None:
        return ChangeAnswer.refused
    _, run, worker, settled, *held = row
    holds = dict(zip(_GUARDS, held, strict=True))[change.guard]
    if run != change.run:
        return ChangeAnswer.refused
    if change.worker is not None:
        if worker != change.worker.encode():
            return ChangeAnswer.refused
        if settled:
            return ChangeAnswer.already
    return ChangeAnswer.accepted if holds else ChangeAnswer.refused


def _writing(sql: Sql, longest: int, changes: Sequence[Change]) -> Iterable[Statement]:
    alike: dict[tuple[Any, ...], list[Change]] = {}
    for change in changes:
        alike.setdefault(_kind(change), []).append(change)
    for group in alike.values():
        sizes = (len(change.result or b"") + len(change.error or "") * 4 for change in group)
        for some in portions(group, sizes, longest):
            yield _write(sql, some)


def _kind(change: Change) -> tuple[Any, ...]:
    """Changes of one kind differ in the task and in what it leaves behind."""
    return (
        change.run,
        change.guard,
        change.worker,
        change.status,
        change.delay,
        change.raise_run,
        change.overdue_after,
        change.cancel_requested,
        change.failures,
        change.crashes,
        change.interruptions,
    )


def _write(sql: Sql, changes: Sequence[Change]) -> Statement:
    some = changes[0]
    ids = numbers(change.id for change in changes)
    columns: list[tuple[str, str, Sequence[Any]]] = [("cancel_requested", "%s", [some.cancel_requested])]
    if some.status is not None:
        columns = [*_columns(some, some.status), *_leavings(changes, ids)]
    guard = _GUARDS[some.guard]
    values = [value for *_, given in columns for value in given]
    values.append(some.run)
    if some.worker is not None:
        guard += " AND worker = %s"
        values.append(some.worker.encode())
    setting = ", ".join(f"{name} = {text}" for name, text, _ in columns)
    return sql.fill(_WRITE, sql.fill(setting), ids, guard), values


def _columns(change: Change, status: TaskStatus) -> Iterable[tuple[str, str, Sequence[Any]]]:
    """What is written of a change with a status, but for what differs between changes of one kind."""
    yield "status", "%s", [status.value]
    if change.guard is Guard.holder:
        yield "settled_run", "%s", [change.run]
    if change.raise_run:
        yield "run", "%s", [change.run + 1]
        overdue_after = None if change.overdue_after is None else to_duration(change.overdue_after)
        yield "deadline", "LEAST(@kapusta_now + %s, {last})", [overdue_after]
    if status is TaskStatus.pending:
        yield "eta", "LEAST(@kapusta_now + %s, {last})", [to_duration(change.delay)]
    yield "finished", "@kapusta_now" if status in FINAL else "NULL", []
    yield "lease", "NULL", []
    yield "lease_end", "NULL", []
    yield "cancel_requested", "0", []
    for counter in ("failures", "crashes", "interruptions"):
        if (count := getattr(change, counter)) is not None:
            yield counter, "%s", [count]


def _leavings(changes: Sequence[Change], ids: str) -> Iterable[tuple[str, str, Sequence[Any]]]:
    """Result, error and reason: one value if all are equal, else the one in the place of the id."""
    for name in ("result", "error", "reason"):
        values = [_bytes_of(getattr(change, name)) for change in changes]
        if len(set(values)) == 1:
            yield name, "%s", values[:1]
        else:
            yield name, f"ELT(FIELD(id, {ids}), {marks(len(values))})", values


def _bytes_of(value: bytes | str | None) -> bytes | None:
    return value.encode() if isinstance(value, str) else value
