"""New tasks: one INSERT where no key is asked for, else a look and one packet that fails if the look is out of date."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

from aiomysql import IntegrityError  # type: ignore[import-untyped]  # the driver ships no types

from kapusta.backend import Added, AddOutcome, NewTask, StoreError, UniqueKey

from ..._rows import to_duration, to_microseconds
from ._session import BEGIN, COMMIT, Session, Statement
from ._sql import Sql, marks, now_is, portions, rows_of
from ._trouble import DUPLICATE, code_of

_INSERT: Final = """
INSERT INTO {task} (id, token, name, payload, codec, mode, queue, `rank`, eta, deadline, options, status, run,
                    failures, crashes, interruptions, cancel_requested, created)
VALUES {0}"""

_ROW: Final = """(
  %s, %s, %s, %s, %s, %s, %s, %s, COALESCE(%s, LEAST(@kapusta_now + %s, {last})),
  LEAST(@kapusta_now + %s, {last}), %s, 'pending', 0, 0, 0, 0, 0, @kapusta_now)"""

# Keys first: what they say of a launch that is just being committed, the second read knows too.
_USERS: Final = """
SELECT used.`key`, used.task, CASE used.until
  WHEN 'started' THEN task.status = 'pending'
  WHEN 'finished' THEN task.id IS NOT NULL AND task.finished IS NULL
  WHEN 'period' THEN used.ends > @kapusta_now
  WHEN 'forever' THEN TRUE
END
FROM {key} AS used LEFT JOIN {task} AS task ON task.id = used.task WHERE used.`key` IN ({0})"""
_TOKENS: Final = "SELECT id, token FROM {task} WHERE id IN ({0})"

# A key that was free is deleted with the user that we saw. If somebody else has taken it since, it is not
# found here, and the INSERT meets it: the transaction fails, and we look again.
_FREE: Final = """
DELETE used FROM {key} AS used FORCE INDEX (PRIMARY) WHERE used.`key` IN ({0}) AND (used.`key`, used.task) IN ({1})"""
_TAKE: Final = "INSERT INTO {key} (`key`, readable, task, until, ends) VALUES {0}"
_TAKE_ROW: Final = "(%s, %s, %s, %s, LEAST(@kapusta_now + %s, {last}))"


async def add(session: Session, sql: Sql, offset: int, tasks: Sequence[NewTask]) -> list[Added]:
    if len({task.id for task in tasks}) == len(tasks) and not any(task.unique for task in tasks):
        try:
            await session.ask(*_writing(session, sql, offset, tasks, {}))
        except IntegrityError as error:
            if code_of(error) != DUPLICATE:
                raise
        else:
            return [Added(id=task.id, outcome=AddOutcome.new) for task in tasks]
    return await _add_after_a_look(session, sql, offset, tasks)


async def _add_after_a_look(session: Session, sql: Sql, offset: int, tasks: Sequence[NewTask]) -> list[Added]:
    keys = [digest(task.unique) for task in tasks if task.unique is not None]
    ids = [task.id for task in tasks]
    _, users, tokens = await session.ask(
        now_is(offset),
        (sql.fill(_USERS, marks(len(keys))), keys),
        (sql.fill(_TOKENS, marks(len(ids))), ids),
    )
    in_use = {key: task for key, task, used in users if used}
    answers = decide(tasks, {id: token.decode() for id, token in tokens}, in_use)
    new = [task for task, added in zip(tasks, answers, strict=True) if added.outcome is AddOutcome.new]
    if new:
        free = {key: task for key, task, used in users if not used}
        await session.ask(*_writing(session, sql, offset, new, free))
    return answers


def decide(tasks: Sequence[NewTask], tokens: dict[int, str], users: dict[bytes, int]) -> list[Added]:
    """What becomes of each of these, given the tokens of the ids and the users of the keys there are."""
    tokens, users = dict(tokens), dict(users)
    return [_decide_one(task, tokens, users) for task in tasks]


def _decide_one(task: NewTask, tokens: dict[int, str], users: dict[bytes, int]) -> Added:
    token = tokens.get(task.id)
    if token is not None:
        return Added(id=task.id, outcome=AddOutcome.again if token == task.token else AddOutcome.id_in_use)
    if task.unique is not None:
        user = users.setdefault(digest(task.unique), task.id)
        if user != task.id:
            return Added(id=user, outcome=AddOutcome.key_in_use)
    tokens[task.id] = task.token
    return Added(id=task.id, outcome=AddOutcome.new)


def _writing(
    session: Session, sql: Sql, offset: int, tasks: Sequence[NewTask], free: dict[bytes, int]
) -> list[Statement]:
    """What stores these tasks and their keys; *free* are the former users of keys that are free."""
    tasks = sorted(tasks, key=lambda task: task.id)
    sizes = (len(task.payload) + len(task.options) for task in tasks)
    row = sql.fixed(_ROW)
    writing = [
        (
            sql.fill(_INSERT, rows_of(row, len(some))),
            [value for task in some for value in row_of(task)],
        )
        for some in portions(tasks, sizes, session.longest)
    ]
    keyed = sorted((digest(task.unique), task.unique, task.id) for task in tasks if task.unique is not None)
    again = [(key, free[key]) for key, _, _ in keyed if key in free]
    if again:
        text = sql.fill(_FREE, marks(len(again)), rows_of("(%s, %s)", len(again)))
        writing.append((text, [*(key for key, _ in again), *(value for pair in again for value in pair)]))
    row = sql.fixed(_TAKE_ROW)
    for some_keyed in portions(keyed, (len(unique.key) for _, unique, _ in keyed), session.longest):
        if some_keyed:
            values = [value for key, unique, id in some_keyed for value in _key_row(key, unique, id)]
            writing.append((sql.fill(_TAKE, rows_of(row, len(some_keyed))), values))
    return [now_is(offset), BEGIN, *writing, COMMIT]


def digest(unique: UniqueKey) -> bytes:
    """What a key is found by: text of any length, in an index of 32 bytes."""
    return sha256(unique.key.encode()).digest()


def row_of(task: NewTask) -> tuple[Any, ...]:
    """What is known of a task before it is stored, in the order of `_ROW`."""
    for what, most in (("queue", 255), ("token", 64), ("codec", 64)):
        if len(text := getattr(task, what)) > most:
            raise StoreError(f"NewTask({what}={text!r}) is longer than the {most} characters kept here")
    return (
        task.id,
        task.token.encode(),
        task.name.encode(),
        task.payload,
        task.codec.encode(),
        task.mode.value,
        task.queue.encode(),
        -task.priority,
        None if task.eta is None else to_microseconds(task.eta),
        to_duration(task.delay),
        None if task.overdue_after is None else to_duration(task.overdue_after),
        task.options,
    )


def _key_row(key: bytes, unique: UniqueKey, id: int) -> tuple[Any, ...]:
    period = None if unique.period is None else to_duration(unique.period)
    return key, unique.key.encode(), id, unique.until.value, period
