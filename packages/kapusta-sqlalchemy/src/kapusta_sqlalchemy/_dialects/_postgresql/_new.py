"""The rows of new tasks, as SQL that both ways of adding have in common."""

from __future__ import annotations

import hashlib
import re
from typing import Any, Final

from kapusta.backend import NewTask, UniqueKey

from ..._rows import to_duration, to_microseconds
from ._sql import rows_of

_ROWS: Final = rows_of(
    "bigint text text bytea text text text smallint bigint bigint bigint bytea text text bigint", first=2
)

NEW: Final = f"""
store(now) AS MATERIALIZED (SELECT {{now}}),
new AS MATERIALIZED (
  SELECT * FROM {_ROWS}
  AS new(id, token, name, payload, codec, mode, queue, rank, eta, delay, overdue_after, options, key, until, period,
         place))
"""
"""The parameters of `row_of` as rows, each with its ``place`` in the batch."""

INSERT: Final = """
INSERT INTO {task} (id, token, name, payload, codec, mode, queue, rank, eta, deadline, options, status, run,
                    failures, crashes, interruptions, cancel_requested, created)
SELECT new.id, new.token, new.name, new.payload, new.codec, new.mode, new.queue, new.rank,
       coalesce(new.eta, least(store.now + new.delay, {last})),
       CASE WHEN new.overdue_after IS NOT NULL THEN least(store.now + new.overdue_after, {last}) END,
       new.options, 'pending', 0, 0, 0, 0, FALSE, store.now
"""

_INDEXED: Final = 1000
"""The most bytes of a key that go into the index as they are; a third of a page is its limit."""
_DIGESTED: Final = re.compile(r"#sha256:[0-9a-f]{64}\Z")


def row_of(task: NewTask) -> tuple[Any, ...]:
    """What is known of a task before it is stored."""
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
        *((None, None, None) if task.unique is None else _key_of(task.unique)),
    )


def _key_of(unique: UniqueKey) -> tuple[Any, ...]:
    period = None if unique.period is None else to_duration(unique.period)
    return _indexed(unique.key), unique.until.value, period


def _indexed(key: str) -> str:
    """A key as it fits into an index: a long one, or what looks like one, by its beginning and its digest."""
    encoded = key.encode()
    if len(encoded) <= _INDEXED and not _DIGESTED.search(key):
        return key
    return f"{key[:200]}#sha256:{hashlib.sha256(encoded).hexdigest()}"
