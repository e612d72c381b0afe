"""New tasks with unique keys: a key and its task are written by one statement."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

import asyncpg
from asyncpg import Connection

from kapusta.backend import Added, AddOutcome, NewTask

from ._new import INSERT, NEW, row_of
from ._sql import Sql, columns
from ._trouble import ConflictError

# Whether a key is in use is asked of its task, which the statement sees as it was when it began. The key itself is
# met as it is now; so it is only taken if it is still what was seen then. Else somebody has taken it in this very
# moment, and neither is it known to be free nor who uses it: the outcome is NULL, and the launch is asked again.
_ADD: Final = f"""
WITH {NEW},
there AS MATERIALIZED (
  SELECT new.place, CASE WHEN task.token = new.token THEN 'again' ELSE 'id_in_use' END AS outcome
  FROM new JOIN {{task}} AS task ON task.id = new.id),
seen AS MATERIALIZED (
  SELECT used.key, used.task, used.xmin AS version, CASE used.until
    WHEN 'started' THEN EXISTS (SELECT FROM {{task}} AS t WHERE t.id = used.task AND t.status = 'pending')
    WHEN 'finished' THEN EXISTS (SELECT FROM {{task}} AS t WHERE t.id = used.task AND t.finished IS NULL)
    WHEN 'period' THEN used.ends > (SELECT now FROM store)
    ELSE TRUE END AS in_use
  FROM {{key}} AS used WHERE used.key = ANY($14::text[])),
taken AS (
  INSERT INTO {{key}} AS used (key, task, until, ends)
  SELECT new.key, new.id, new.until, least(store.now + new.period, CASE WHEN new.period IS NOT NULL THEN {{last}} END)
  FROM new CROSS JOIN store
  WHERE new.key IS NOT NULL AND new.place NOT IN (SELECT place FROM there) ORDER BY new.key
  ON CONFLICT (key) DO UPDATE SET task = excluded.task, until = excluded.until, ends = excluded.ends
  WHERE EXISTS (SELECT FROM seen WHERE seen.key = used.key AND seen.version = used.xmin AND NOT seen.in_use)
  RETURNING used.key),
added AS (
  {INSERT}
  FROM new CROSS JOIN store
  WHERE new.place NOT IN (SELECT place FROM there)
    AND (new.key IS NULL OR (new.key IN (SELECT key FROM taken)) IS TRUE)
  ORDER BY new.id
  RETURNING id)
SELECT
  CASE WHEN there.outcome IS NULL AND added.id IS NULL AND seen.in_use THEN seen.task ELSE new.id END,
  CASE WHEN there.outcome IS NOT NULL THEN there.outcome WHEN added.id IS NOT NULL THEN 'new'
       WHEN seen.in_use THEN 'key_in_use' END
FROM new
LEFT JOIN there ON there.place = new.place
LEFT JOIN added ON added.id = new.id
LEFT JOIN seen ON seen.key = new.key
ORDER BY new.place
"""

# Should this process stand still in the middle, the server ends the transaction, and with it its locks on keys.
_BEGIN: Final = """
BEGIN ISOLATION LEVEL READ COMMITTED;
SET LOCAL idle_in_transaction_session_timeout = 5000
"""


async def add_keyed(connection: Connection, sql: Sql, offset: int, tasks: Sequence[NewTask]) -> list[Added]:
    """Store one task without, several within a transaction, so that all are stored or none.

    Raises:
        ConflictError: somebody was faster; nothing is stored, and asking again will tell what they did.
    """
    try:
        if len(tasks) == 1:
            return await _add(connection, sql, offset, tasks)
        await connection.execute(_BEGIN)
        answers = [answer for part in _parts(tasks) for answer in await _add(connection, sql, offset, part)]
        await connection.execute("COMMIT")
    except (ConflictError, asyncpg.UniqueViolationError) as error:
        if connection.is_in_transaction():
            await connection.execute("ROLLBACK")
        raise ConflictError from error
    return answers


def _parts(tasks: Sequence[NewTask]) -> Iterator[Sequence[NewTask]]:
    """The batch in pieces in which no id and no key comes twice; what comes later sees what came before."""
    begin, seen = 0, set[object]()
    for place, task in enumerate(tasks):
        mine = {task.id} if task.unique is None else {task.id, task.unique.key}
        if seen & mine:
            yield tasks[begin:place]
            begin, seen = place, set()
        seen |= mine
    yield tasks[begin:]


async def _add(connection: Connection, sql: Sql, offset: int, tasks: Sequence[NewTask]) -> list[Added]:
    answers = await connection.fetch(sql.fill(_ADD), offset, *columns([row_of(task) for task in tasks]))
    if any(outcome is None for _, outcome in answers):
        raise ConflictError
    return [Added(id=id, outcome=AddOutcome(outcome)) for id, outcome in answers]
