"""The claim: a look that locks nothing, and a grip of what others are not just gripping."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, Final

from aiomysql import Error  # type: ignore[import-untyped]  # the driver ships no types

from kapusta.backend import ClaimRequest, Claims, StoredTask

from ..._rows import to_duration, to_instant, to_records
from ._lanes import DUE, IN_LANE, Lane, Looker
from ._session import BEGIN, COMMIT, Session
from ._sql import Sql, now_is, record_of
from ._trouble import is_conflict

# Candidates of a lane are read without a lock, more than are taken: whoever asks at the same time passes over the
# rows of others and finds the next ones, instead of nothing. They are locked by their ids, one by one. A locking
# read of the lane would, where the lane ends, lock the first row of the next one for a moment, and hide it from
# whoever claims that.
_IN_LANE: Final = f"""(
SELECT task.id FROM (SELECT id {IN_LANE} {DUE} ORDER BY eta, id LIMIT %s) AS candidate
STRAIGHT_JOIN {{task}} AS task FORCE INDEX (PRIMARY) ON task.id = candidate.id
WHERE task.status = 'pending' AND task.eta <= @kapusta_now
AND (task.deadline IS NULL OR task.deadline > @kapusta_now) LIMIT %s FOR UPDATE SKIP LOCKED)"""
_CANDIDATES: Final = 10
"""How many times as many are looked at as are taken."""
# For when others hold all candidates.
_IN_LANE_TO_ITS_END: Final = f"(SELECT id {IN_LANE} {DUE} ORDER BY eta, id LIMIT %s FOR UPDATE SKIP LOCKED)"
_GRIP: Final = "SELECT GROUP_CONCAT(id ORDER BY id) INTO @kapusta_ids FROM ({0}) AS gripped"

# The ids are known only now, and the row locks must not wait for them to travel to us and back.
_VALUES: Final = "SET @kapusta_worker = %s, @kapusta_lease = %s"
# A run that somebody has made the greatest number of all stays it: an overflow would be the end of every claim.
_START: Final = """
PREPARE kapusta_start FROM CONCAT('
UPDATE {task_quoted} FORCE INDEX (PRIMARY) SET
  status = ''started'', run = LEAST(run, 9223372036854775806) + 1, worker = @kapusta_worker, lease = @kapusta_lease,
  lease_end = LEAST(@kapusta_now + @kapusta_lease, {last}), started = @kapusta_now, cancel_requested = 0
WHERE id IN (', COALESCE(@kapusta_ids, 'NULL'), ')')"""
_STARTED: Final = """
PREPARE kapusta_started FROM CONCAT('
SELECT {columns} FROM {task_quoted} FORCE INDEX (PRIMARY) WHERE id IN (', COALESCE(@kapusta_ids, 'NULL'), ')')"""


async def claim(session: Session, sql: Sql, looker: Looker, offset: int, request: ClaimRequest) -> Claims:
    look = await looker.look(session, offset, request)
    now, tasks = look.now, []
    if look.due:
        taking = _Taking(session, sql, looker, offset, request)
        await taking.take(look.due)
        now, tasks = max(now, taking.now), taking.tasks
    next_due = None if look.next_eta is None else to_instant(max(look.next_eta, now)) - to_instant(now)
    return Claims(tasks=tasks, now=to_instant(now), next_due=next_due)


class _Taking:
    """What one claim has taken so far."""

    def __init__(
        self, session: Session, sql: Sql, looker: Looker, offset: int, request: ClaimRequest
    ) -> None:
        self._session, self._sql, self._looker = session, sql, looker
        self._offset, self._request = offset, request
        self._slots = {mode.value: count for mode, count in request.slots.items() if count > 0}
        self.now = 0
        self.tasks: list[StoredTask] = []

    async def take(self, due: Sequence[Lane]) -> None:
        """Take of these lanes, in which something is due, until slots or lanes are used up."""
        while due:
            shares = await self._looker.shares(self._session, self._offset, due, self._slots)
            if not shares:
                break
            try:
                tasks = await self._grip(shares)
            except Error as error:
                # What has been taken is stored: a claim that is repeated would never tell of it.
                if not self.tasks or not is_conflict(error):
                    raise
                break
            taken = Counter(map(_lane_of, tasks))
            for task in tasks:
                self._slots[task.mode.value] -= 1
            self.tasks += tasks
            # A lane that gave less has nothing left but what others hold. What it was to give, the others may.
            short = {lane for lane, share in shares.items() if taken[lane] < share}
            wanting = {lane.mode for lane in short if self._slots[lane.mode]}
            due = [lane for lane in due if lane.mode in wanting and lane not in short]
        self.tasks.sort(key=lambda task: (-task.priority, task.eta, task.id))

    async def _grip(self, shares: dict[Lane, int]) -> list[StoredTask]:
        """So many of each lane, or as many as are free."""
        near = [
            value for lane, share in shares.items() for value in (*lane, _CANDIDATES * (share + 1), share)
        ]
        tasks = await self._start(_IN_LANE, near, len(shares))
        if tasks:
            return tasks
        far = [value for lane, share in shares.items() for value in (*lane, share)]
        return await self._start(_IN_LANE_TO_ITS_END, far, len(shares))

    async def _start(self, gripping: str, values: Sequence[Any], count: int) -> list[StoredTask]:
        sql, request = self._sql, self._request
        lanes = "\nUNION ALL ".join([sql.fixed(gripping)] * count)
        _, [(self.now,)], *_, rows, _ = await self._session.ask(
            now_is(self._offset),
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
        return to_records(rows, record_of)


def _lane_of(task: StoredTask) -> Lane:
    return Lane(task.queue.encode(), task.mode.value, task.name.encode(), -task.priority)
