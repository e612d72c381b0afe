"""A task table that is away for a moment, or a right: an operator is at work, and no outcome may be lost to that."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import make_url

from kapusta import Kapusta, LaunchUnknownError, StoreUnavailableError
from kapusta.backend import TaskQuery
from kapusta_sqlalchemy import AlchemyCRUD
from tests.outages.conftest import MakeKapusta, OpenStore
from tests.servers.mariadb import ask
from tests.servers.postgresql import administer
from tests.sqlalchemy.records import claim, new, settled
from tests.worker.eventually import eventually

NAMES = "kapusta_task", "kapusta_task_elsewhere"
ROLE = "kapusta_test_lesser"


@dataclass(frozen=True)
class Operator:
    """Somebody with a connection of their own, who may do everything.

    Attributes:
        url: the store, for Kapusta.
        run: carries out a statement.
    """

    url: str
    run: Callable[[str], object]

    def withdraw(self) -> None:
        """Rename the task table away."""
        self.run("ALTER TABLE {} RENAME TO {}".format(*NAMES))

    def restore(self) -> None:
        """Rename it back."""
        self.run("ALTER TABLE {1} RENAME TO {0}".format(*NAMES))


@pytest.fixture(params=["sqlite", "postgres_url", "mysql_url"])
def operator(request: pytest.FixtureRequest, tmp_path: Path) -> Operator:
    """The operator of an empty database."""
    if request.param == "sqlite":
        file = tmp_path / "tasks.db"
        return Operator(f"sqlite+aiosqlite:///{file}", lambda text: _in_file(file, text))
    url = request.getfixturevalue(request.param)
    if request.param == "mysql_url":
        return Operator(url, lambda text: ask(url, text))
    return Operator(url, lambda text: administer(make_url(url), lambda admin: admin.execute(text)))


def _in_file(file: Path, text: str) -> None:
    with closing(sqlite3.connect(file, timeout=20)) as connection:
        connection.execute(text)
        connection.commit()


@pytest.fixture(params=["postgres_url", "mysql_url"])
def rights(request: pytest.FixtureRequest) -> Iterator[Operator]:
    """The operator of a store that Kapusta reaches as a user with rights that the operator gives and takes."""
    address = request.getfixturevalue(request.param)
    url = make_url(address)
    asyncio.run(_make_store(address))
    if request.param == "mysql_url":
        user, run = f"{ROLE}@'%'", lambda text: ask(address, text)
    else:
        user, run = ROLE, lambda text: administer(url, lambda admin: admin.execute(text))
    if request.param == "mysql_url":
        run(f"CREATE USER {user} IDENTIFIED BY 'secret'")
    else:
        run(f"CREATE ROLE {user} LOGIN PASSWORD 'secret'")
    for table in ("task", "unique_key", "store", "alembic_version"):
        run(f"GRANT SELECT, INSERT, UPDATE, DELETE ON kapusta_{table} TO {user}")
    lesser = url.set(username=ROLE, password="secret").render_as_string(hide_password=False)
    yield Operator(lesser, lambda text: run(text.format(user)))
    if request.param == "mysql_url":
        run(f"DROP USER {user}")
    else:
        run(f"DROP OWNED BY {user}; DROP ROLE {user}")


async def _make_store(url: str) -> None:
    store = AlchemyCRUD(url)
    await store.startup()
    await store.shutdown()


async def _ended_meanwhile(
    kapusta: Kapusta, caplog: pytest.LogCaptureFixture, away: Callable[[], object], back: Callable[[], object]
) -> tuple[Any, list[int]]:
    """End a body just after *away*, and do *back* once its outcome has been refused; what it came to, and its runs."""
    may_end, begun = threading.Event(), asyncio.Event()
    loop, ran = asyncio.get_running_loop(), []

    @kapusta.task("thread", on_crash="hold")
    def work() -> str:
        ran.append(1)
        loop.call_soon_threadsafe(begun.set)
        may_end.wait(60)
        return "done"

    await kapusta.startup()
    handle = await work.launch()
    await asyncio.wait_for(begun.wait(), 30)
    await asyncio.to_thread(away)
    may_end.set()
    await eventually(
        lambda: "Settling outcomes failed" in caplog.text or "cannot be stored" in caplog.text, "refused"
    )
    await asyncio.to_thread(back)
    return await handle.result(timeout=60), ran


async def test_outcome_survives_a_table_that_is_renamed_away_for_a_moment(
    operator: Operator, make_kapusta: MakeKapusta, caplog: pytest.LogCaptureFixture
) -> None:
    """Thrown away, a task that had succeeded would be held, or run twice, for an online schema change."""
    kapusta = make_kapusta(operator.url)

    result, ran = await _ended_meanwhile(kapusta, caplog, operator.withdraw, operator.restore)

    assert result == "done"
    assert ran == [1]


async def test_outcome_survives_a_right_that_is_revoked_for_a_moment(
    rights: Operator, make_kapusta: MakeKapusta, caplog: pytest.LogCaptureFixture
) -> None:
    """Thrown away, a task that had succeeded would be held, or run twice, for a slip of an operator."""
    kapusta = make_kapusta(rights.url)

    result, ran = await _ended_meanwhile(
        kapusta,
        caplog,
        lambda: rights.run("REVOKE UPDATE ON kapusta_task FROM {}"),
        lambda: rights.run("GRANT UPDATE ON kapusta_task TO {}"),
    )

    assert result == "done"
    assert ran == [1]


async def test_launch_while_the_table_is_renamed_away_raises_an_error_of_ours(
    operator: Operator, make_kapusta: MakeKapusta
) -> None:
    """A driver's error would tell the caller neither that the launch is safe to repeat nor how."""
    kapusta = make_kapusta(operator.url, store_timeout=1)
    task = kapusta.register_task(lambda: "ran", name="work")
    await kapusta.crud.startup()
    operator.withdraw()

    with pytest.raises(LaunchUnknownError, match="kapusta_task") as caught:
        await task.launch()
    operator.restore()
    handle = await caught.value.launch_again()

    assert [one.id for one in await kapusta.crud.find_tasks(TaskQuery(limit=9))] == [int(handle)]


async def test_launch_without_the_right_raises_an_error_of_ours(
    rights: Operator, make_kapusta: MakeKapusta
) -> None:
    """As without the table: the application may catch one error for all that keeps a store from taking a launch."""
    kapusta = make_kapusta(rights.url, store_timeout=1)
    task = kapusta.register_task(lambda: "ran", name="work")
    await kapusta.crud.startup()
    rights.run("REVOKE INSERT ON kapusta_task FROM {}")

    with pytest.raises(LaunchUnknownError, match="denied"):
        await task.launch()


async def test_every_operation_calls_a_missing_table_an_outage(
    operator: Operator, open_store: OpenStore
) -> None:
    """An operation that lets the driver's error through has its loop log a traceback for an operator's work."""
    store = await open_store(operator.url)
    await store.add_tasks([new()])
    [task] = (await store.claim_tasks(claim())).tasks
    operator.withdraw()

    for operation in (
        store.add_tasks([new(id=2)]),
        store.start_task(new(id=3), claim()),
        store.claim_tasks(claim()),
        store.change_tasks([settled(task)]),
        store.find_tasks(TaskQuery(limit=9)),
        store.delete_tasks([task.id]),
    ):
        with pytest.raises(StoreUnavailableError, match="kapusta_task"):
            await operation
    operator.restore()

    [changed] = await store.change_tasks([settled(task)])
    assert changed.answer.name == "accepted"


RULES = {
    "sqlite": (
        """
        CREATE TRIGGER refuses BEFORE UPDATE ON kapusta_task WHEN length(NEW.result) > 9
        BEGIN SELECT RAISE(ABORT, 'too long'); END
        """,
    ),
    "postgresql": (
        "ALTER TABLE kapusta_task ADD CHECK (length(result) < 10)",
        """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'too long'; END $$;
        CREATE TRIGGER refuses BEFORE UPDATE ON kapusta_task FOR EACH ROW WHEN (length(NEW.result) > 9)
        EXECUTE FUNCTION refuse()
        """,
    ),
    "mysql": (
        "ALTER TABLE kapusta_task ADD CHECK (length(result) < 10)",
        """
        CREATE TRIGGER refuses BEFORE UPDATE ON kapusta_task FOR EACH ROW
        IF length(NEW.result) > 9 THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'too long'; END IF
        """,
    ),
}
"""Rules that refuse a long result."""


@pytest.mark.parametrize("rule", [0, 1], ids=["check", "trigger"])
async def test_row_that_the_database_refuses_is_not_an_outage(
    operator: Operator, open_store: OpenStore, rule: int
) -> None:
    """Taken for an outage, one bad row would have the settler repeat its batch forever, and no outcome be stored."""
    store = await open_store(operator.url)
    rules = RULES[make_url(operator.url).get_backend_name()]
    await store.add_tasks([new()])
    [task] = (await store.claim_tasks(claim())).tasks
    operator.run(rules[min(rule, len(rules) - 1)])

    with pytest.raises(Exception, match=r"(?i)too long|violates|constraint") as caught:
        await store.change_tasks([settled(task, result=b'"longer than nine"')])
    [changed] = await store.change_tasks([settled(task, result=b"1")])

    assert not isinstance(caught.value, StoreUnavailableError)
    assert changed.answer.name == "accepted"
