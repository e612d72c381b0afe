"""SQL text of this store: templates filled in once, with its table names and the number of their marks."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final, TypeVar

from sqlalchemy.dialects.mysql import dialect as mysql_dialect

from kapusta.backend import StoredTask

from ..._rows import LAST_INSTANT, to_record
from ..._tables import Tables
from ._session import Statement

T = TypeVar("T")

# In UTC whatever the session's time zone is; as a variable it is one instant for all statements of an
# operation. What is added is `clock.offset`.
_NOW: Final = "SET @kapusta_now = TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(6)) + %s"

_TEXTS: Final = ("error", "reason")
_HALF: Final = re.compile("[\ud800-\udfff]")  # half a surrogate pair

MOST_ROWS: Final = 500
"""The most rows of one statement."""


class Sql:
    """Fills templates in with the names of one store.

    Statements that lock say which index they go by. Left to itself the server reads a small table as a whole,
    by whichever index, and then locks, or waits for, rows that are none of ours.
    """

    def __init__(self, tables: Tables) -> None:
        preparer = mysql_dialect().identifier_preparer
        columns = [preparer.quote(column.name) for column in tables.task.columns]
        # As bytes, for a connection may speak a character set that cannot say what a traceback says.
        columns = [f"CAST({name} AS BINARY)" if name in _TEXTS else name for name in columns]
        task = preparer.format_table(tables.task)
        self._names = {
            "task": task,
            "task_quoted": task.replace("\\", "\\\\").replace("'", "''"),  # within a text in quotes
            "key": preparer.format_table(tables.unique_key),
            "lanes": preparer.quote(f"ix_{tables.task.name}_lane"),
            "leases": preparer.quote(f"ix_{tables.task.name}_lease"),
            "deadlines": preparer.quote(f"ix_{tables.task.name}_deadline"),
            "ends": preparer.quote(f"ix_{tables.task.name}_finished"),
            "users": preparer.quote(f"ix_{tables.unique_key.name}_task"),
            "key_ends": preparer.quote(f"ix_{tables.unique_key.name}_ends"),
            "columns": ", ".join(columns),
            "last": str(LAST_INSTANT),
        }
        self._filled: dict[tuple[str, ...], str] = {}

    def fill(self, template: str, *lists: str) -> str:
        """Put in the names of this store, and *lists* for ``{0}``, ``{1}`` and so on."""
        return template.format(*lists, **self._names)

    def fixed(self, template: str) -> str:
        """The same for a template without lists, kept."""
        filled = self._filled.get((template,))
        if filled is None:
            filled = self._filled[template,] = self.fill(template)
        return filled


def now_is(offset: int) -> Statement:
    """Makes ``@kapusta_now`` the store's now."""
    return _NOW, (offset,)


@lru_cache(maxsize=256)
def marks(count: int) -> str:
    """So many marks: ``%s, %s, %s``; of none ``NULL``, which nothing is equal to."""
    return ", ".join(["%s"] * count) or "NULL"


@lru_cache(maxsize=256)
def rows_of(row: str, count: int) -> str:
    """So many rows of ``VALUES``."""
    return ", ".join([row] * count)


def numbers(ids: Iterable[int]) -> str:
    """A list of ids, written out."""
    return ", ".join(map(str, ids))


def portions(things: Sequence[T], sizes: Iterable[int], longest: int) -> Iterator[Sequence[T]]:
    """*things* in portions that fit into one statement, each of at least one; *sizes* are in bytes.

    In hexadecimal they are twice as many.
    """
    begin, bytes_so_far = 0, 0
    for place, size in enumerate(sizes):
        if place > begin and (place - begin == MOST_ROWS or 2 * (bytes_so_far + size) > longest // 2):
            yield things[begin:place]
            begin, bytes_so_far = place, 0
        bytes_so_far += size
    yield things[begin:]


def storable_only(names: Iterable[str]) -> list[bytes]:
    """The names that a row can have, sorted; what UTF-8 cannot hold, none has.

    As bytes: they are compared so, whatever character set a connection has.
    """
    return [name.encode() for name in sorted(names) if name.isascii() or not _HALF.search(name)]


_BINARY: Final = (1, 2, 4, 6, 13, 22, 23)
"""The places of texts that are stored as bytes, in a row of the task table."""


def record_of(row: Sequence[Any]) -> StoredTask:
    """The record of a row of the task table."""
    values = list(row)
    for place in _BINARY:
        if isinstance(value := values[place], bytes):
            values[place] = value.decode()
    return to_record(values)
