"""The shape, the system, and running an application."""
# ruff: noqa: D103 - what a check claims is the sentence above it

from __future__ import annotations

import asyncio
import importlib.metadata
import logging
import os
import re
import subprocess
import sys
import threading
import tomllib
from datetime import timedelta
from itertools import chain
from unittest import mock

from kapusta import BaseCRUD, Kapusta, TaskStatus
from kapusta.testing import BackendContract
from tests.brief.bodies import where
from tests.brief.stage import ROOT, Page, Stage

PAGE = Page()
says = PAGE.says
DISTRIBUTIONS = ("kapusta-core", "kapusta-sqlalchemy", "kapusta-memory")


def requirements(distribution: str) -> list[str]:
    """The names of what a distribution asks for, extras included."""
    project = tomllib.loads((ROOT / "packages" / distribution / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *chain(*project.get("optional-dependencies", {}).values())]
    return [re.split(r"[\[>]", each)[0].lower() for each in asked]


@says("kind: pluggable-backend monorepo of distributions", "language: Python")
async def kind(stage: Stage) -> None:
    assert all(importlib.metadata.version(each) for each in DISTRIBUTIONS)
    assert all((ROOT / "packages" / each / "pyproject.toml").is_file() for each in DISTRIBUTIONS)


@says("packages: sqlalchemy, aiosqlite, asyncpg, aiomysql, pluggy, pytest, nox")
async def packages(stage: Stage) -> None:
    assert {"pluggy", "pytest"} <= set(requirements("kapusta-core"))
    assert {"sqlalchemy", "aiosqlite", "asyncpg", "aiomysql"} <= set(requirements("kapusta-sqlalchemy"))
    assert "nox.session" in (ROOT / "noxfile.py").read_text()


@says(
    "top level: `noxfile.py`, `README.md`, `packages/kapusta-core/`, `packages/kapusta-sqlalchemy/`, "
    "`packages/kapusta-memory/`, `tests/`, `docs/`"
)
async def top_level(stage: Stage) -> None:
    top = ["noxfile.py", "README.md", *(f"packages/{each}" for each in DISTRIBUTIONS), "tests", "docs"]
    assert [each for each in top if not (ROOT / each).exists()] == []


@says(
    "`kapusta-core` defines the scheduler and the `BaseCRUD` protocol with no DB dependency",
    "separate distributions provide SQLAlchemy and in-memory brokers discovered via pluggy entry points",
)
async def shape(stage: Stage) -> None:
    engines = {"sqlalchemy", "aiosqlite", "asyncpg", "aiomysql", "alembic"}
    assert not engines & set(requirements("kapusta-core"))
    plugins = [entry.load() for entry in importlib.metadata.entry_points(group="kapusta")]
    found = {backend.name for plugin in plugins for backend in plugin.kapusta_backends()}
    assert {"memory", "sqlalchemy"} <= found


@says("with one shared contract test suite run against every backend")
async def contract(stage: Stage) -> None:
    suites = [path.read_text() for path in (ROOT / "tests" / "contract").glob("test_*.py")]
    assert sum("(BackendContract)" in suite for suite in suites) >= 2
    assert len([name for name in dir(BackendContract) if name.startswith("test_")]) >= 30


@says("`pip install kapusta-core kapusta-sqlalchemy`", "writing a third-party backend plugin")
async def used_by(stage: Stage) -> None:
    groups = {entry.dist.name for entry in importlib.metadata.entry_points(group="kapusta") if entry.dist}
    assert {"kapusta-memory", "kapusta-sqlalchemy"} <= groups


@says(
    "in-memory backend in unit tests",
    "Kapusta is a simple asynchronous task manager that allows using SQLAlchemy as a broker and result backend "
    "(with the possibility of extension).",
)
async def broker_and_results(stage: Stage) -> None:
    kapusta = stage.kapusta()

    @kapusta.task()
    async def double(number: int) -> int:
        return number * 2

    async with kapusta:
        task = await double.launch(21)
        assert [each.id for each in await stage.stored()] == [task]
        await kapusta.run_until_idle()
        assert await kapusta.get_task_result(task) == 42


@says(
    "It can work both in the main thread and scale up to multiple processes.",
    "there is no point in creating additional processes and integrating third-party tools",
)
async def main_thread_and_processes(stage: Stage) -> None:
    kapusta, another = stage.kapusta(), stage.kapusta()
    here = kapusta.register_task(where, name="here")
    there = kapusta.register_task(where, "process", name="there")
    another.register_task(where, name="here")
    another.register_task(where, "process", name="there")

    async with kapusta, another:
        tasks = [await here.launch(), await there.launch()]
        await kapusta.run_until_idle()
        await another.run_until_idle()
        (pid, thread), (child, _) = [await task.result() for task in tasks]

    assert (pid, thread) == (os.getpid(), threading.main_thread().name)
    assert child != pid


@says("### The simple example, which must run exactly so (with a real `DB_URL`)")
async def simple_example(stage: Stage) -> None:
    program = (ROOT / "tests" / "isolated" / "simple_example.py").read_text()
    assert program.count("'...'") == 1
    program = program.replace("'...'", repr(stage.url))
    if stage.url == "memory://":
        program = program.replace("AlchemyCRUD(DB_URL)", "DB_URL")
    (stage.folder / "example.py").write_text(program)

    ran = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "example.py"],
        cwd=stage.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "test\n", "")


@says(
    "kapusta = Kapusta(crud=AlchemyCRUD(DB_URL), logger=Logger('kapusta'), max_tick_interval=60 * 5, "
    "default_overdue_time_delta=None, default_max_retry_attempts=0, default_timeout=60)",
    "`crud`: an object inherited from `BaseCRUD`. Implements the logic of the broker and result backend.",
)
async def constructor(stage: Stage) -> None:
    crud = stage.crud()
    kapusta = Kapusta(
        crud=crud,
        logger=logging.Logger("kapusta"),  # noqa: LOG001 - as it stands in the brief
        max_tick_interval=60 * 5,
        default_overdue_time_delta=None,
        default_max_retry_attempts=0,
        default_timeout=60,
    )

    assert isinstance(crud, BaseCRUD)
    assert kapusta.crud is crud


@says("`logger`: an object from the standard `logging` module.")
async def logger(stage: Stage) -> None:
    records: list[logging.LogRecord] = []
    given = logging.Logger("mine")  # noqa: LOG001 - as it stands in the brief
    handler = mock.Mock(level=logging.NOTSET, handle=records.append)
    given.addHandler(handler)
    kapusta = stage.kapusta(logger=given)

    @kapusta.task(name="divide")
    def divide() -> float:
        return 1 / 0

    async with kapusta:
        task = await divide.launch()
        await kapusta.run_until_idle()

    (failure,) = [record for record in records if record.levelno == logging.ERROR]
    assert failure.name == "mine"
    assert "ZeroDivisionError" in failure.getMessage()
    assert vars(failure)["task_id"] == task
    assert vars(failure)["task_name"] == "divide"


@says(
    "`max_tick_interval`: the maximum time between checks for pending tasks that should be executed soon.",
)
async def max_tick_interval(stage: Stage) -> None:
    kapusta = stage.kapusta(max_tick_interval=20)
    kapusta.register_task(lambda: 1, name="t")
    async with kapusta:
        await stage.clock.settle()
        claims = mock.AsyncMock(wraps=kapusta.crud.claim_tasks)
        with mock.patch.object(kapusta.crud, "claim_tasks", claims):
            await stage.clock.advance(seconds=65)
    # Where a store cannot tell of what others launch, it is looked at more often.
    polled = kapusta.crud.capabilities.poll_interval is not None
    assert claims.await_count >= 3 if polled else claims.await_count == 3


@says(
    "`default_overdue_time_delta`: passed by default when registering a task if not overridden.",
    "A `timedelta` after which the task is considered overdue, `None` if the task should be executed in any case.",
)
async def default_overdue_time_delta(stage: Stage) -> None:
    kapusta = stage.kapusta(default_overdue_time_delta=timedelta(minutes=1))
    default = kapusta.register_task(lambda: 1, name="default")
    longer = kapusta.register_task(lambda: 1, name="longer", overdue_time=timedelta(minutes=5))
    any_case = kapusta.register_task(lambda: 1, name="any case", overdue_time=None)
    await kapusta.crud.startup()
    tasks = [await each.launch() for each in (default, longer, any_case)]

    stage.clock.shift(minutes=2)
    await kapusta.run_until_idle()

    statuses = [await task.status() for task in tasks]
    assert statuses == [TaskStatus.overdue, TaskStatus.success, TaskStatus.success]
    assert default.overdue_time_delta == timedelta(minutes=1)


@says("`default_max_retry_attempts`: passed by default when registering a task if not overridden.")
async def default_max_retry_attempts(stage: Stage) -> None:
    kapusta = stage.kapusta(default_max_retry_attempts=2, default_backoff=None)

    def fail(name: str) -> None:
        stage.ran.append(name)
        raise ValueError

    await kapusta.crud.startup()
    await kapusta.register_task(fail, name="default").launch("default")
    await kapusta.register_task(fail, name="once", max_retry_attempts=0).launch("once")
    await kapusta.run_until_idle()

    assert sorted(stage.ran) == ["default"] * 3 + ["once"]


@says("`default_timeout`: passed by default when registering a task if not overridden.")
async def default_timeout(stage: Stage) -> None:
    kapusta = stage.kapusta(default_timeout=60)

    async def sleep() -> None:
        await stage.clock.sleep(100)

    async with kapusta:
        default = await kapusta.register_task(sleep, name="default").launch()
        longer = await kapusta.register_task(sleep, name="longer", timeout=200).launch()
        await stage.clock.advance(seconds=101)

        assert await default.status() is TaskStatus.timeout
        assert await longer.status() is TaskStatus.success


@says(
    "`await kapusta.startup()` creates, with `asyncio.create_task`, the method `kapusta.listening`, which in an "
    "infinite loop asynchronously accesses the CRUD service, takes tasks from there and launches them.",
    "It also calls `crud.startup()`, which sets up the result backend and broker.",
)
async def startup(stage: Stage) -> None:
    kapusta = stage.kapusta()
    task = kapusta.register_task(lambda: 42, name="t")

    with mock.patch.object(kapusta.crud, "startup", mock.AsyncMock(wraps=kapusta.crud.startup)) as opened:
        await kapusta.startup()

    opened.assert_awaited_once()
    (listening,) = [each for each in asyncio.all_tasks() if each.get_name() == "kapusta.listening"]
    assert "Kapusta.listening" in repr(listening.get_coro())
    for _ in range(2):
        handle = await task.launch()
        await stage.clock.settle()
        assert await handle.status() is TaskStatus.success
    assert not listening.done()
