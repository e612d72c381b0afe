"""A new task that its worker has claimed: one packet in place of an INSERT and a claim."""

from __future__ import annotations

from typing import Final

from aiomysql import IntegrityError  # type: ignore[import-untyped]  # the driver ships no types

from kapusta.backend import ClaimRequest, Claims, NewTask, rules

from ..._rows import to_duration, to_instant
from ._adding import row_of
from ._session import BEGIN, COMMIT, Session
from ._sql import Sql, now_is
from ._trouble import DUPLICATE, code_of

_START: Final = """
INSERT INTO {task} (id, token, name, payload, codec, mode, queue, `rank`, eta, deadline, options, status, run, worker,
                    lease, lease_end, failures, crashes, interruptions, cancel_requested, created, started)
VALUES (%s, %s, %s, %s, %s, %s, %s, %s, @kapusta_now, LEAST(@kapusta_now + %s, {last}), %s, 'started', 1, %s,
        %s, LEAST(@kapusta_now + %s, {last}), 0, 0, 0, 0, @kapusta_now, @kapusta_now)"""

_NOW: Final = ("SELECT CAST(@kapusta_now AS SIGNED)", ())


async def start(
    session: Session, sql: Sql, offset: int, task: NewTask, request: ClaimRequest
) -> Claims | None:
    *identity, _, _, overdue_after, options = row_of(task)
    lease = to_duration(request.lease)
    values = (*identity, overdue_after, options, request.worker.encode(), lease, lease)
    try:
        _, [(now,)], *_ = await session.ask(now_is(offset), _NOW, BEGIN, (sql.fill(_START), values), COMMIT)
    except IntegrityError as error:
        if code_of(error) != DUPLICATE:
            raise
        return None
    started = rules.born_claimed(task, request, to_instant(now))
    return Claims(tasks=[started], now=started.created, next_due=None)
