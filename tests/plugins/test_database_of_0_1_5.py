"""A database that kapusta 0.1.5 has used, and may go on using: ours works in it, and leaves what it finds alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy.dialects.postgresql import dialect
from sqlalchemy.dialects.postgresql.named_types import NamedType

from kapusta import Kapusta
from kapusta_sqlalchemy import AlchemyCRUD, metadata
from tests.plugins import old_kapusta


@pytest.fixture
def used(tmp_path: Path) -> Path:
    """A database with both tables of 0.1.5 in the midst of use."""
    path = tmp_path / "shop.db"
    old_kapusta.write_database(path)
    return path


async def test_tasks_run_beside_the_old_tables_and_these_stay_as_they_are(used: Path) -> None:
    """Started twice, a task run each time: every old row, table and index is what it was, to the letter."""
    before = _dump(used)

    results = [await _work_on(used), await _work_on(used)]

    assert results == [42, 42]
    assert len(before) > 10
    assert [line for line in before if line not in _dump(used)] == []


async def test_the_rows_of_0_1_5_are_not_taken_for_tasks(used: Path) -> None:
    """What it left pending or started is not ours to run: only what was launched here is there."""
    await _work_on(used)

    with closing(sqlite3.connect(used)) as connection:
        ((tasks, finished),) = connection.execute(
            "SELECT count(*), count(*) FILTER (WHERE status = 'success') FROM kapusta_task"
        )

    assert (tasks, finished) == (1, 1)


async def test_0_1_5_can_go_on_in_it(used: Path) -> None:
    """Nothing of ours refers to its tables or watches them: it stores, settles and deletes as before."""
    await _work_on(used)

    with closing(sqlite3.connect(used)) as connection, connection:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(
            "INSERT INTO kapusta_tasks (id, function, status, execution_mode, max_retry_attempts) "
            "VALUES ('d', 'shop.remind', 'pending', 'async_', 0)"
        )
        connection.execute("UPDATE kapusta_tasks SET status = 'success' WHERE id = 'd'")
        connection.execute("DELETE FROM kapusta_result_backends")
        connection.execute("DROP TABLE kapusta_result_backends")
        connection.execute("DROP TABLE kapusta_tasks")

    assert await _work_on(used) == 42


async def test_no_name_of_ours_is_one_of_its(tmp_path: Path, used: Path) -> None:
    """Tables, indexes and types: neither could be made first and keep the other from being made."""
    await _work_on(tmp_path / "ours.db")

    ours, theirs = _names(tmp_path / "ours.db"), _names(used) | old_kapusta.NAMES

    assert {"kapusta_task", "ix_kapusta_task_lane"} <= ours
    assert {"kapusta_tasks", "ix_kapusta_tasks_status"} <= theirs
    assert ours & theirs == set()


def test_no_column_of_ours_needs_a_type_with_a_name() -> None:
    """On PostgreSQL 0.1.5 made the types ``status`` and ``execution_mode``; ours makes none, so none can clash."""
    columns = [column for table in metadata.tables.values() for column in table.c]

    named = [str(each) for each in columns if isinstance(each.type.dialect_impl(dialect()), NamedType)]

    assert named == []


async def _work_on(path: Path) -> int:
    """Start on this database, run one task, and stop."""
    kapusta = Kapusta(crud=AlchemyCRUD(f"sqlite+aiosqlite:///{path}"))

    @kapusta.task()
    async def double(number: int) -> int:
        return number * 2

    async with kapusta:
        doubled = await double.launch(21)
        return await doubled.result(timeout=60)


def _dump(path: Path) -> list[str]:
    """The statements that would make the database anew."""
    with closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


def _names(path: Path) -> set[str]:
    """What all of its tables and indexes are called; of the same name is who differs by case alone."""
    with closing(sqlite3.connect(path)) as connection:
        rows = connection.execute("SELECT name FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'")
        return {name.lower() for (name,) in rows}
