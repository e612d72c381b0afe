"""Fill a store of Kapusta with rows that no claim may be slowed by."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from kapusta import Task

LAST_ID: Final = 10_000_000
"""The copies have ids up to this. The ids that Kapusta draws are greater: they begin with the time."""

_AFTERWARDS: Final = {
    "postgresql": "VACUUM ANALYZE kapusta_task",
    "mysql": "ANALYZE TABLE kapusta_task",
    "sqlite": "ANALYZE",
}
"""What autovacuum and its like would have done by the time that a table has grown so large."""


_FINISH: Final = (
    "UPDATE kapusta_task SET status = 'success', run = 1, settled_run = 1, worker = 'earlier', started = created,"
    " finished = created WHERE id = :id"
)


async def fill(task: Task[..., Any], url: str, *, finished: int, future: int, unknown: int) -> None:
    """Launch *task* once for each kind, and copy its row until there are as many as asked.

    The finished ones have succeeded, the future ones are due in a year, and no worker knows the name of the unknown ones,
    which are due.
    """
    in_a_year = datetime.now(UTC) + timedelta(days=365)
    originals = {
        "finished": int(await task.launch()),
        "future": int(await task.with_options(eta=in_a_year).launch()),
        "unknown": int(await task.launch()),
    }
    engine = create_async_engine(url)
    try:
        async with engine.execution_options(isolation_level="AUTOCOMMIT").connect() as connection:
            await connection.execute(text(_FINISH), {"id": originals["finished"]})
            first = 1
            for kind, count in {"finished": finished, "future": future, "unknown": unknown}.items():
                await _copy(connection, originals[kind], kind, first, count)
                first += count
            await connection.execute(text(_AFTERWARDS[engine.dialect.name]))
    finally:
        await engine.dispose()


async def _copy(connection: AsyncConnection, original: int, kind: str, first: int, count: int) -> None:
    """Move one row to the id *first*, and double the rows until there are *count*."""
    await connection.execute(
        text("UPDATE kapusta_task SET id = :first WHERE id = :id"), {"first": first, "id": original}
    )
    if kind == "unknown":
        await connection.execute(
            text("UPDATE kapusta_task SET name = 'unknown' WHERE id = :id"), {"id": first}
        )
    columns = list((await connection.execute(text("SELECT * FROM kapusta_task WHERE id = 0"))).keys())
    quoted = connection.dialect.identifier_preparer.quote
    new: dict[str, Any] = {"id": "id + :by", "eta": "eta + :by"}
    if kind == "finished":
        new["finished"] = "finished - :by"
    into = ", ".join(quoted(column) for column in columns)
    what = ", ".join(new.get(column, quoted(column)) for column in columns)
    there = 1
    while there < count:
        by = min(there, count - there)
        await connection.execute(
            text(
                f"INSERT INTO kapusta_task ({into}) SELECT {what} FROM kapusta_task"  # noqa: S608 - names of our own columns
                " WHERE id >= :first AND id < :end"
            ),
            {"by": there, "first": first, "end": first + by},
        )
        there += by
