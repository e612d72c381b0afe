"""The claim: a look that locks nothing, and a grip of what others are not just gripping."""

from __future__ import annotations

from typing import Any, Final

from kapusta.backend import ClaimRequest, Claims, StoredTask

from ..._rows import to_duration, to_instant
from ._lanes import DUE, IN_LANE, Lane, Looker
from ._session import Session
from ._sql import BEGIN, COMMIT, Sql, now_is, record_of

# Each lane is read in the order of its index, and as far as is taken: whoever asks at the same time passes these
# rows over and finds the next ones, instead of nothing.
_IN_LANE: Final = f"(SELECT id {IN_LANE} {DUE} ORDER BY eta, id LIMIT %s FOR UPDATE SKIP LOCKED)"
_GRIP: Final = "SELECT GROUP_CONCAT(id ORDER BY id) INTO @kapusta_ids FROM ({0}) AS gripped"

# The ids are known only now, and the row locks must not wait for them to travel to us and back.
_VALUES: Final = "SET @kapusta_worker = %s, @kapusta_lease = %s"
_START: Final = """
PREPARE kapusta_start FROM CONCAT('
UPDATE {task} SET
  status = ''started'', run = run + 1, worker = @kapusta_worker, lease = @kapusta_lease,
  lease_end = LEAST(@kapusta_now + @kapusta_lease, {last}), started = @kapusta_now, cancel_requested = 0
WHERE id IN (', COALESCE(@kapusta_ids, 'NULL'), ')')"""
_STARTED: Final = """
PREPARE kapusta_started FROM CONCAT('
SELECT {columns} FROM {task} WHERE id IN (', COALESCE(@kapusta_ids, 'NULL'), ')')"""


async def claim(session: Session, sql: Sql, looker: Looker, offset: int, request: ClaimRequest) -> Claims:
    look = await looker.look(session, offset, request)
    tasks: list[StoredTask] = []
    now = look.now
    if look.due:
        now, tasks = await _take(session, sql, looker, offset, request, list(look.due))
    next_due = None if look.next_eta is None else to_instant(max(look.next_eta, now)) - to_instant(now)
    return Claims(tasks=tasks, now=to_instant(now), next_due=next_due)


async def _take(
    session: Session, sql: Sql, looker: Looker, offset: int, request: ClaimRequest, due: list[Lane]
) -> tuple[int, list[StoredTask]]:
    """Take of the lanes in which something is due, until the slots or the lanes are used up.

    A lane that gives less than was asked has no more than what others hold, and is not asked again.
    """
    slots = {mode.value: count for mode, count in request.slots.items() if count > 0}
    tasks: list[StoredTask] = []
    while True:
        shares = await looker.shares(session, offset, due, slots)
        now, taken = await _grip(session, sql, offset, request, shares)
        tasks += taken
        given = dict.fromkeys(due, 0)
        for task in taken:
            slots[task.mode.value] -= 1
            given[Lane(task.queue.encode(), task.mode.value, task.name.encode(), -task.priority)] += 1
        due = [lane for lane in due if slots[lane.mode] and given[lane] == shares.get(lane, 0)]
        if not due:
            break
    tasks.sort(key=lambda task: (-task.priority, task.eta, task.id))
    return now, tasks


async def _grip(
    session: Session, sql: Sql, offset: int, request: ClaimRequest, shares: dict[Lane, int]
) -> tuple[int, list[StoredTask]]:
    values: list[Any] = [value for lane, share in shares.items() for value in (*lane, share)]
    lanes = "\nUNION ALL ".join([sql.fixed(_IN_LANE)] * len(shares))
    _, [(now,)], *_, rows, _ = await session.ask(
        now_is(offset),
        ("SELECT @kapusta_now", ()),
        (_VALUES, (request.worker.encode(), to_duration(request.lease))),
        BEGIN,
        (sql.fill(_GRIP, lanes), values),
        (sql.fixed(_START), ()),
        ("EXECUTE kapusta_start", ()),
        (sql.fixed(_STARTED), ()),
        ("EXECUTE kapusta_started", ()),
        COMMIT,
    )
    return now, [record_of(row) for row in rows]
