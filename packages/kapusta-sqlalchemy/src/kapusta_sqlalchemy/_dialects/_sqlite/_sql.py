"""SQL text of this store: templates filled in once, with its table names and the number of their marks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from itertools import chain, repeat
from typing import Any, Final

from sqlalchemy import Column
from sqlalchemy.dialects.sqlite import dialect as sqlite_dialect

from ..._rows import LAST_INSTANT
from ..._tables import Tables, python_type

# SQLite's 'now' has milliseconds; as a Julian day it is exact enough to find them again, on every version
# (unixepoch('subsec') is NULL before 3.42). What is added is `clock.offset`.
_NOW: Final = "(CAST(ROUND((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000 + {0})"

_HALF: Final = re.compile("[\ud800-\udfff]")  # half a surrogate pair

MOST_ROWS: Final = 512
"""The most rows of one ``VALUES``: 17 marks each stay far below SQLite's 32,766."""


_TYPES: Final = {int: "integer", str: "text", bytes: "blob"}


def _is_readable(column: Column[Any]) -> str:
    """Whether a row ``t`` has in this column what it is for: a column of SQLite keeps whatever is written into it."""
    right = f"typeof(t.{column.name}) = '{_TYPES[python_type(column)]}'"
    return f"(t.{column.name} IS NULL OR {right})" if column.nullable else right


class Sql:
    """Fills templates in; the same template and lists give the same text, which a driver has prepared."""

    def __init__(self, tables: Tables) -> None:
        preparer = sqlite_dialect().identifier_preparer
        stage = preparer.quote_identifier(f"{tables.prefix}stage")
        self._names = {
            "task_name": preparer.quote_identifier(tables.task.name),  # where no schema is attached
            "task": preparer.format_table(tables.task),
            "key": preparer.format_table(tables.unique_key),
            "stage": f"temp.{stage}",
            "stage_name": stage,
            "stage_id": f"temp.{preparer.quote_identifier(f'ix_{tables.prefix}stage_id')}",
            "stage_key": f"temp.{preparer.quote_identifier(f'ix_{tables.prefix}stage_key')}",
            "columns": ", ".join(column.name for column in tables.task.columns),
            "readable": " AND ".join(map(_is_readable, tables.task.columns)),
            "now": _NOW.format("?"),
            "last": str(LAST_INSTANT),
        }
        self._filled: dict[tuple[str, ...], str] = {}

    def fill(self, template: str, *lists: str) -> str:
        """Put in the names of this store, and *lists* for ``{0}``, ``{1}`` and so on."""
        key = (template, *lists)
        filled = self._filled.get(key)
        if filled is None:
            filled = self._filled[key] = template.format(*lists, **self._names)
        return filled

    def fill_script(self, template: str, offset: int) -> str:
        """A script takes no parameters: *template*, in which ``{0}`` is the store's now plus *offset*."""
        return template.format(_NOW.format(offset), **self._names)


@lru_cache(maxsize=256)
def marks(count: int) -> str:
    """So many marks: ``?, ?, ?``."""
    return ", ".join("?" * count)


def listed(wanted: Sequence[Any]) -> tuple[str, list[Any]]:
    """The marks and the parameters of ``IN`` with these; their number is rounded up as in `values`."""
    parameters = list(wanted)
    parameters += parameters[-1:] * (_round_up(len(wanted)) - len(wanted))
    return marks(len(parameters)), parameters


def _round_up(count: int) -> int:
    return 1 << (count - 1).bit_length() if count else 0


@lru_cache(maxsize=256)
def _value_marks(rows: int, width: int) -> str:
    return ", ".join([f"({marks(width)})"] * rows)


def values(rows: Sequence[Sequence[Any]]) -> tuple[str, Iterable[Any]]:
    """The marks and the parameters of ``VALUES`` with these rows.

    The number of rows is rounded up to a power of two, with rows of NULL, so that few texts serve all.
    """
    width = len(rows[0])
    padded = _round_up(len(rows))
    parameters = chain(chain.from_iterable(rows), repeat(None, (padded - len(rows)) * width))
    return _value_marks(padded, width), parameters


def storable_only(names: Iterable[str]) -> list[str]:
    """The names that a row can have, sorted: what UTF-8 cannot hold, none has."""
    return sorted(name for name in names if name.isascii() or not _HALF.search(name))
