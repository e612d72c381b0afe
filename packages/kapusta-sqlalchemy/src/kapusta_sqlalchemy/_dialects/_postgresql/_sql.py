"""SQL text of this store: templates with its table names put in."""

from __future__ import annotations

from typing import Final

from sqlalchemy.dialects.postgresql import dialect as postgresql_dialect

from ..._rows import LAST_INSTANT
from ..._tables import Tables

# The beginning of the statement: not the transaction's, which may be long ago, and not a clock that runs on within
# the statement, which no index can be searched by. What is added, always as `$1`, is `clock.offset`.
NOW: Final = "((extract(epoch FROM statement_timestamp()) * 1000000)::bigint + $1::bigint)"


class Sql:
    """Fills templates in; the same template gives the same text, which a driver has prepared."""

    def __init__(self, tables: Tables) -> None:
        preparer = postgresql_dialect().identifier_preparer
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

    def put(self, template: str, **parts: str) -> str:
        """As ``fill``, with *parts* that change from call to call."""
        return template.format(**self._names, **parts)


def columns(rows: list[tuple[object, ...]]) -> list[tuple[object, ...]]:
    """Rows as one array for each column, which ``unnest`` makes rows of again: one text serves any number."""
    return list(zip(*rows, strict=True))
