"""The rows of new tasks, as SQL that both ways of adding have in common."""

from __future__ import annotations

from typing import Any, Final

from kapusta.backend import NewTask

from ..._rows import to_duration, to_microseconds

NEW: Final = """
store(now) AS MATERIALIZED (SELECT {now}),
new AS MATERIALIZED (
  SELECT * FROM unnest($2::bigint[], $3::text[], $4::text[], $5::bytea[], $6::text[], $7::text[], $8::text[],
    $9::smallint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bytea[])
  WITH ORDINALITY AS new(id, token, name, payload, codec, mode, queue, rank, eta, delay, overdue_after, options, place))
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
    )
