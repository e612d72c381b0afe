"""Renewals: what others have locked is passed over, and answered as busy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from kapusta.backend import Renewal, RenewAnswer, Renewed, RenewRequest

from ..._rows import to_duration
from ._session import BEGIN, COMMIT, Session
from ._sql import MOST_ROWS, Sql, now_is, numbers

_VALUES: Final = "SET @kapusta_worker = %s, @kapusta_lease = %s"
_HELD: Final = """
FROM {task} FORCE INDEX (PRIMARY)
WHERE id IN ({0}) AND (id, run) IN ({1}) AND status = 'started' AND worker = @kapusta_worker"""

_GRIP: Final = f"""
SELECT GROUP_CONCAT(id ORDER BY id) INTO @kapusta_ids FROM (SELECT id {_HELD} FOR UPDATE SKIP LOCKED) AS gripped"""
_RENEW: Final = """
PREPARE kapusta_renew FROM CONCAT('
UPDATE {task_quoted} FORCE INDEX (PRIMARY)
SET lease = @kapusta_lease, lease_end = LEAST(@kapusta_now + @kapusta_lease, {last})
WHERE id IN (', COALESCE(@kapusta_ids, 'NULL'), ')')"""

# After the grip: what was locked then, and is held now, was busy.
_KEPT: Final = f"SELECT id, cancel_requested, FIND_IN_SET(id, @kapusta_ids) > 0 {_HELD}"


async def renew(session: Session, sql: Sql, offset: int, request: RenewRequest) -> list[Renewed]:
    kept: dict[int, tuple[bool, bool]] = {}
    for start in range(0, len(request.renewals), MOST_ROWS):
        some = sorted(request.renewals[start : start + MOST_ROWS], key=lambda renewal: renewal.id)
        kept |= await _renew(session, sql, offset, request, some)
    return [_renewed(renewal, kept.get(renewal.id)) for renewal in request.renewals]


async def _renew(
    session: Session, sql: Sql, offset: int, request: RenewRequest, renewals: Sequence[Renewal]
) -> dict[int, tuple[bool, bool]]:
    ids = numbers(renewal.id for renewal in renewals)
    runs = ", ".join(f"({renewal.id}, {renewal.run})" for renewal in renewals)
    *_, rows, _ = await session.ask(
        now_is(offset),
        (_VALUES, (request.worker.encode(), to_duration(request.lease))),
        BEGIN,
        (sql.fill(_GRIP, ids, runs), ()),
        (sql.fixed(_RENEW), ()),
        ("EXECUTE kapusta_renew", ()),
        (sql.fill(_KEPT, ids, runs), ()),
        COMMIT,
    )
    return {id: (bool(cancel_requested), bool(gripped)) for id, cancel_requested, gripped in rows}


def _renewed(renewal: Renewal, kept: tuple[bool, bool] | None) -> Renewed:
    if kept is None:
        return Renewed(id=renewal.id, answer=RenewAnswer.lost)
    cancel_requested, gripped = kept
    answer = RenewAnswer.renewed if gripped else RenewAnswer.busy
    return Renewed(id=renewal.id, answer=answer, cancel_requested=cancel_requested)
