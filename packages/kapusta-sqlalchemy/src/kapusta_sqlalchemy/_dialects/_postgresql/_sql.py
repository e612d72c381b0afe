"""SQL text of this store: templates with its table names put in."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy.dialects.postgresql.asyncpg import PGDialect_asyncpg

from ..._rows import LAST_INSTANT
from ..._tables import Tables

# The beginning of the statement: not the transaction's, which may be long ago, and not a clock that runs on within
# the statement, which no index can be searched by. What is added, always as `$1`, is `clock.offset`.
NOW: Final = "((extract(epoch FROM statement_timestamp()) * 1000000)::bigint + $1::bigint)"

_UNSTORABLE: Final = re.compile("[\0\ud800-\udfff]")


class Sql:
    """Fills templates in; the same template gives the same text, which a driver has prepared."""

    def __init__(self, tables: Tables) -> None:
        preparer = PGDialect_asyncpg().identifier_preparer  # type: ignore[no-untyped-call]  # SQLAlchemy leaves it so
        self._names = {
            "task": preparer.format_table(tables.task),
            "key": preparer.format_table(tables.unique_key),
            "store": preparer.format_table(tables.store),
            "columns": ", ".join(column.name for column in tables.task.columns),
            "task_columns": ", ".join(f"task.{column.name}" for column in tables.task.columns),
            "now": NOW,
            "last": str(LAST_INSTANT),
        }
        self._filled: dict[str, str] = {}

    def fill(self, template: str) -> str:
        """Put in the names of this store."""
        filled = self._filled.get(template)
        if filled is None:
            filled = self._filled[template] = template.format(**self._names)
        return filled

    def put(self, template: str) -> str:
        """As ``fill``, for a text that is put together anew each time."""
        return template.format(**self._names)


def storable(names: Iterable[str]) -> list[str]:
    """The names that a row can have: no launch has stored another."""
    return [name for name in names if name.isprintable() or not _UNSTORABLE.search(name)]


def rows_of(kinds: str, *, first: int) -> str:
    """What makes rows of arrays, the parameters from *first* on, each with its place in the batch.

    Of an array that it does not see the planner expects ten elements, and joins by looking at each pair; of a
    series, a thousand, and then it hashes.
    """
    arrays = [f"unnest(${number}::{kind}[])" for number, kind in enumerate(kinds.split(), start=first)]
    return f"ROWS FROM ({', '.join(arrays)}, generate_series(1, cardinality(${first})))"


def columns(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Rows as one array for each column, which ``unnest`` makes rows of again: one text serves any number."""
    return list(zip(*rows, strict=True))
