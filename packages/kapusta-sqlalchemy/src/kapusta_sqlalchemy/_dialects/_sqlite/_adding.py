"""New tasks: one statement where no unique key is asked for, else a script over a staged batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aiosqlite import Connection

from kapusta.backend import Added, AddOutcome, NewTask

from ..._plain import are_alike
from ..._rows import to_duration, to_microseconds
from ._sql import MOST_ROWS, Sql, listed, marks, values

_FIELDS: Final = "id, token, name, payload, codec, mode, queue, rank, eta, delay, overdue_after, options"

_INSERT: Final = """
INSERT INTO {task} (id, token, name, payload, codec, mode, queue, rank, eta, deadline, options, status, run,
                    failures, crashes, interruptions, cancel_requested, created)
SELECT new.id, new.token, new.name, new.payload, new.codec, new.mode, new.queue, new.rank,
       coalesce(new.eta, min(store.now + new.delay, {last})), min(store.now + new.overdue_after, {last}),
       new.options, 'pending', 0, 0, 0, 0, 0, store.now
"""

_ADD: Final = f"""
WITH store(now) AS MATERIALIZED (SELECT {{now}}),
new({_FIELDS}) AS (VALUES {{0}})
{_INSERT}
FROM new, store WHERE new.id IS NOT NULL
ON CONFLICT (id) DO NOTHING
RETURNING id
"""

# The same of tasks that differ in id and payload alone: two values a row in place of twelve.
_ADD_ALIKE: Final = """
WITH store(now) AS MATERIALIZED (SELECT {now}),
new(id, payload) AS (VALUES {0})
INSERT INTO {task} (id, token, name, payload, codec, mode, queue, rank, eta, deadline, options, status, run,
                    failures, crashes, interruptions, cancel_requested, created)
SELECT new.id, ?, ?, new.payload, ?, ?, ?, ?, coalesce(?, min(store.now + ?, {last})), min(store.now + ?, {last}),
       ?, 'pending', 0, 0, 0, 0, 0, store.now
FROM new, store WHERE new.id IS NOT NULL
ON CONFLICT (id) DO NOTHING
RETURNING id
"""

_MOST_ALIKE: Final = 8192
"""The most rows of one such statement: with two values each they stay within SQLite's 32,766 parameters."""

_TOKENS: Final = "SELECT id, token FROM {task} WHERE id IN ({0})"

# The batch waits in a table of the connection's own, which locks nothing. The transaction is one script, so it
# begins and ends within one call of the driver: a write lock is never held while the event loop runs, where a
# `sync` task could keep it for as long as it likes.
_PREPARE: Final = f"""
CREATE TEMP TABLE IF NOT EXISTS {{stage}} (
  place INTEGER PRIMARY KEY, {_FIELDS}, key, until, period, outcome, taken_by);
CREATE INDEX IF NOT EXISTS {{stage_id}} ON {{stage_name}} (id);
CREATE INDEX IF NOT EXISTS {{stage_key}} ON {{stage_name}} (key);
DELETE FROM {{stage}};
"""

_STAGE: Final = f"INSERT INTO {{stage}} (place, {_FIELDS}, key, until, period) VALUES ({{0}})"

_SCRIPT: Final = f"""
BEGIN IMMEDIATE;
UPDATE {{stage}} AS new SET outcome = iif(task.token = new.token, 'again', 'id_in_use')
FROM {{task}} AS task WHERE task.id = new.id;
UPDATE {{stage}} AS new SET outcome = 'key_in_use', taken_by = used.task
FROM {{key}} AS used LEFT JOIN {{task}} AS task ON task.id = used.task
WHERE new.outcome IS NULL AND used.key = new.key AND CASE used.until
  WHEN 'started' THEN task.status = 'pending'
  WHEN 'finished' THEN task.id IS NOT NULL AND task.finished IS NULL
  WHEN 'period' THEN used.ends > {{0}}
  WHEN 'forever' THEN TRUE
END;
UPDATE {{stage}} AS new SET outcome = (
  SELECT iif(first.token = new.token, 'again', 'id_in_use') FROM {{stage}} AS first
  WHERE first.outcome IS NULL AND first.id = new.id AND first.place < new.place ORDER BY first.place LIMIT 1)
WHERE new.outcome IS NULL;
UPDATE {{stage}} AS new SET taken_by = (
  SELECT first.id FROM {{stage}} AS first
  WHERE first.outcome IS NULL AND first.key = new.key AND first.place < new.place ORDER BY first.place LIMIT 1)
WHERE new.outcome IS NULL;
UPDATE {{stage}} SET outcome = 'key_in_use' WHERE outcome IS NULL AND taken_by IS NOT NULL;
WITH store(now) AS MATERIALIZED (SELECT {{0}})
{_INSERT}
FROM {{stage}} AS new, store WHERE new.outcome IS NULL ORDER BY new.id;
INSERT OR REPLACE INTO {{key}} (key, task, until, ends)
SELECT key, id, until, min({{0}} + period, {{last}}) FROM {{stage}} WHERE outcome IS NULL AND key IS NOT NULL;
COMMIT;
"""

_OUTCOMES: Final = "SELECT coalesce(taken_by, id), coalesce(outcome, 'new') FROM {stage} ORDER BY place"


async def add(connection: Connection, sql: Sql, offset: int, tasks: Sequence[NewTask]) -> list[Added]:
    if len(tasks) <= _MOST_ALIKE and are_alike(tasks):
        _, token, name, _, *others = row_of(tasks[0])
        text, parameters = values([(task.id, task.payload) for task in tasks])
        rows = await connection.execute_fetchall(
            sql.fill(_ADD_ALIKE, text), (offset, *parameters, token, name, *others)
        )
    elif len(tasks) > MOST_ROWS or any(task.unique for task in tasks):
        return await _add_staged(connection, sql, offset, tasks)
    else:
        text, parameters = values([row_of(task) for task in tasks])
        rows = await connection.execute_fetchall(sql.fill(_ADD, text), (offset, *parameters))
    new = {id for (id,) in rows}
    tokens = {} if len(new) == len(tasks) else await _tokens(connection, sql, [task.id for task in tasks])
    return [Added(id=task.id, outcome=_outcome(task, new, tokens)) for task in tasks]


async def _tokens(connection: Connection, sql: Sql, ids: Sequence[int]) -> dict[int, str]:
    text, parameters = listed(ids)
    rows = await connection.execute_fetchall(sql.fill(_TOKENS, text), parameters)
    return {row[0]: row[1] for row in rows}


def _outcome(task: NewTask, new: set[int], tokens: dict[int, str]) -> AddOutcome:
    """What became of *task*; of an id that comes twice the first is the new one."""
    if task.id in new:
        new.remove(task.id)
        return AddOutcome.new
    return AddOutcome.again if tokens.get(task.id) == task.token else AddOutcome.id_in_use


async def _add_staged(connection: Connection, sql: Sql, offset: int, tasks: Sequence[NewTask]) -> list[Added]:
    rows = [(place, *row_of(task), *_key(task)) for place, task in enumerate(tasks)]
    await connection.executescript(sql.fill(_PREPARE))
    await connection.executemany(sql.fill(_STAGE, marks(len(rows[0]))), rows)
    await connection.executescript(sql.fill_script(_SCRIPT, offset))
    answers = await connection.execute_fetchall(sql.fill(_OUTCOMES))
    return [Added(id=id, outcome=AddOutcome(outcome)) for id, outcome in answers]


def row_of(task: NewTask) -> tuple[Any, ...]:
    """What is known of a task before it is stored, in the order of the fields above."""
    return (
        task.id,
        task.token,
        task.name,
        task.payload,
        task.codec,
        task.mode.value,
        task.queue,
        -task.priority,
        None if task.eta is None else to_microseconds(task.eta),
        to_duration(task.delay),
        None if task.overdue_after is None else to_duration(task.overdue_after),
        task.options,
    )


def _key(task: NewTask) -> tuple[Any, ...]:
    if task.unique is None:
        return None, None, None
    period = None if task.unique.period is None else to_duration(task.unique.period)
    return task.unique.key, task.unique.until.value, period
