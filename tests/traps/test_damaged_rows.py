"""Rows that no version of this code has written: by hand, by a restore gone wrong, by something newer."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import create_async_engine

from kapusta import TaskStatus
from kapusta._worker._housekeeper import PAGE
from kapusta.backend import TaskQuery
from kapusta.testing import ManualClock
from kapusta_sqlalchemy import AlchemyCRUD, metadata
from tests.worker.conftest import MakeKapusta
from tests.worker.stored import claimed_by_the_dead, stored

BEYOND_TIME = 10**18
"""Microseconds since 1970 that are in no year of a calendar."""


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'tasks.db'}"
    found: str = request.getfixturevalue("postgres_url" if request.param == "postgresql" else "mysql_url")
    return found


async def damage(url: str, task_ids: int | Sequence[int], column: str, value: str | int | bytes) -> None:
    """Write something into rows that does not belong there."""
    ids = [int(task_id) for task_id in (task_ids if isinstance(task_ids, Sequence) else [task_ids])]
    engine = create_async_engine(url)
    literal = f"'{value}'"
    if isinstance(value, bytes):  # written out: not every driver takes bytes
        literal = f"decode('{value.hex()}', 'hex')" if engine.name == "postgresql" else f"X'{value.hex()}'"
    elif isinstance(value, int):
        literal = str(value)
    async with engine.begin() as connection:
        changed = await connection.execute(
            text(f"UPDATE kapusta_task SET {column} = {literal} WHERE id IN ({', '.join(map(str, ids))})")
        )
        assert changed.rowcount == len(ids)
    await engine.dispose()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("status", "abducted"),
        ("eta", BEYOND_TIME),
        ("eta", -BEYOND_TIME),
        ("deadline", BEYOND_TIME),
        ("created", -BEYOND_TIME),
        ("run", (1 << 63) - 1),
        ("options", b"{"),
        ("codec", "morse"),
    ],
)
async def test_a_damaged_row_that_waits_keeps_no_other_waiting(
    url: str, make_kapusta: MakeKapusta, column: str, value: str | int | bytes
) -> None:
    """What was launched with it runs, once, and so does what comes after it."""
    clock = ManualClock()
    kapusta = make_kapusta(AlchemyCRUD(url, clock=clock))
    task = kapusta.register_task(lambda: "ran", name="task")
    await kapusta.crud.startup()
    damaged, neighbour = await task.launch_many([{}, {}])
    await damage(url, damaged, column, value)

    await kapusta.startup()
    await clock.advance(minutes=1)
    later = await task.launch()
    await clock.advance(seconds=1)

    for handle in (neighbour, later):
        record = await stored(kapusta, handle)
        assert (record.status, record.run, record.crashes) == (TaskStatus.success, 1, 0)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("mode", "actor"),
        ("eta", BEYOND_TIME),
        ("deadline", -BEYOND_TIME),
        ("created", BEYOND_TIME),
        ("lease_end", BEYOND_TIME),
        ("lease_end", -BEYOND_TIME),
        ("lease_end", -(1 << 63)),
        ("lease", (1 << 63) - 1),
        ("lease", -(1 << 63)),
        ("crashes", (1 << 31) - 1),
        ("options", b"{"),
    ],
)
async def test_a_damaged_row_whose_worker_died_keeps_no_other_from_being_rescued(
    url: str,
    make_kapusta: MakeKapusta,
    caplog: pytest.LogCaptureFixture,
    column: str,
    value: str | int | bytes,
) -> None:
    """Its neighbour has lost its worker too, and runs again. What nobody can read stays, and is named, once."""
    clock = ManualClock()
    kapusta = make_kapusta(AlchemyCRUD(url, clock=clock))
    task = kapusta.register_task(lambda: "ran", name="task")
    await kapusta.crud.startup()
    damaged, neighbour = await task.launch_many([{}, {}])
    await claimed_by_the_dead(kapusta.crud, "task", count=2)
    await damage(url, damaged, column, value)

    await kapusta.startup()
    with caplog.at_level(logging.ERROR, logger="kapusta"):
        await clock.advance(minutes=3)

    record = await stored(kapusta, neighbour)
    assert (record.status, record.run) == (TaskStatus.success, 2)
    if column == "mode":
        [line] = [message for message in caplog.messages if str(int(damaged)) in message]
        assert "'actor'" in line
        assert [each.id for each in await kapusta.crud.find_tasks(TaskQuery())] == [neighbour]
        await damage(url, damaged, "mode", "sync")
        assert (await stored(kapusta, damaged)).status is TaskStatus.started  # it was there all the time


async def test_a_page_of_damaged_rows_whose_worker_died_hides_nothing_behind_it(
    url: str, make_kapusta: MakeKapusta
) -> None:
    """More of them than are looked at in one go; what was launched after them is found, and runs again."""
    clock = ManualClock()
    kapusta = make_kapusta(AlchemyCRUD(url, clock=clock))
    task = kapusta.register_task(lambda: "ran", name="task")
    await kapusta.crud.startup()
    *damaged, last = await task.launch_many({} for _ in range(PAGE + 1))
    await claimed_by_the_dead(kapusta.crud, "task", count=PAGE + 1)
    await damage(url, damaged, "mode", "actor")

    await kapusta.startup()
    await clock.advance(minutes=3)

    record = await stored(kapusta, last)
    assert (record.status, record.run) == (TaskStatus.success, 2)
    assert [each.id for each in await kapusta.crud.find_tasks(TaskQuery(limit=1))] == [last]


COLUMNS: Final = [column for column in metadata.tables["kapusta_task"].columns if column.name != "id"]
VALUES: Final[dict[str, tuple[str, tuple[type, ...]]]] = {
    "text": ("'garbage'", (int, bool, bytes)),
    "integer": ("5", (bytes,)),
    "blob": ("X'ff00'", (int, bool, str)),
    "real": ("1.5", (int, bool, bytes)),
    "null": ("NULL", ()),
    "broken": ("CAST(X'ff00' AS TEXT)", ()),
}
"""What is written into a column of each kind, and to which columns of SQLite, which are of no type, it is foreign."""


async def rows_of(url: str) -> dict[int, Any]:
    """The rows of the task table, by their ids."""
    engine = create_async_engine(url)
    async with engine.connect() as connection:
        if engine.name == "sqlite":  # as a text may be none
            driver: Any = (await connection.get_raw_connection()).driver_connection
            driver.text_factory = bytes
        rows = await connection.execute(text("SELECT * FROM kapusta_task"))
        found = {row.id: tuple(row) for row in rows}
    await engine.dispose()
    return found


async def damage_each(url: str, ids: Mapping[str, int], kind: str) -> set[str]:
    """Damage one column each of many rows; answer which, as some databases keep to the types of their columns."""
    literal, _ = VALUES[kind]
    if url.startswith("postgresql") and kind == "blob":
        literal = "decode('ff00', 'hex')"
    engine = create_async_engine(url)
    done = set()
    for column, id in ids.items():
        try:
            async with engine.begin() as connection:
                await connection.execute(
                    text(f"UPDATE kapusta_task SET {column} = {literal} WHERE id = {id}")
                )
            done.add(column)
        except DBAPIError:
            assert kind == "null" or not url.startswith("sqlite")
    await engine.dispose()
    return done


def foreign(url: str, kind: str) -> set[str]:
    """The columns to which a value of this kind is foreign, and which keep it all the same."""
    _, types = VALUES[kind]
    return {
        column.name for column in COLUMNS if url.startswith("sqlite") and column.type.python_type in types
    }


@pytest.mark.parametrize("died", [False, True], ids=["waiting", "died"])
@pytest.mark.parametrize("kind", VALUES)
async def test_whatever_is_in_whichever_column_harms_no_neighbour(
    url: str, make_kapusta: MakeKapusta, caplog: pytest.LogCaptureFixture, kind: str, died: bool
) -> None:
    """A row for each column, with a neighbour each: these run, once; what cannot be read is not touched, and named once."""
    clock = ManualClock()
    kapusta = make_kapusta(AlchemyCRUD(url, clock=clock), max_concurrent_tasks=100)
    task = kapusta.register_task(lambda: "ran", name="task")
    await kapusta.crud.startup()
    handles = [int(handle) for handle in await task.launch_many({} for _ in range(2 * len(COLUMNS)))]
    damaged = dict(zip((column.name for column in COLUMNS), handles[::2], strict=True))
    if died:
        await claimed_by_the_dead(kapusta.crud, "task", count=len(handles))
    done = await damage_each(url, damaged, kind)
    before = await rows_of(url)

    with caplog.at_level(logging.WARNING, logger="kapusta"):
        await kapusta.startup()
        await clock.advance(minutes=3)
        later = await task.launch()
        await clock.advance(minutes=3)

    for id in (*handles[1::2], int(later)):
        record = await stored(kapusta, id)
        runs = 2 if died and id != later else 1
        assert (record.status, record.run) == (TaskStatus.success, runs)
    after = await rows_of(url)
    unreadable = {damaged[column] for column in done & foreign(url, kind)}
    assert {id for id in unreadable if before[id] != after[id]} == set()
    readable = {each.id for each in await kapusta.crud.find_tasks(TaskQuery(limit=1000))}
    assert not readable & unreadable
    assert readable >= set(handles) - set(damaged.values())
    assert not [record.message for record in caplog.records if record.exc_info]
    errors = [record.message for record in caplog.records if record.levelno >= logging.ERROR]
    assert len(errors) == len(set(errors))
