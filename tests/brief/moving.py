"""What 0.1.5 has and its users rely on, and what is wrong with it."""
# ruff: noqa: D103 - what a check claims is the sentence above it

from __future__ import annotations

import asyncio
import importlib
import json
import logging
import os
import threading
from datetime import UTC, datetime, timedelta
from enum import Enum

import pytest

import kapusta as door
from kapusta import DuplicateTaskError, TaskExecutionMode, TaskStatus
from kapusta.backend import ClaimRequest
from tests.brief.bodies import where
from tests.brief.stage import Page, Stage

PAGE = Page()
says = PAGE.says


def plain() -> int:
    """A plain function."""
    return 42


@says(
    "`TaskStatus` (`pending`, `started`, `success`, `error`, `timeout`, `overdue`) and `TaskExecutionMode` as enums "
    "whose values are those strings",
)
async def enums(stage: Stage) -> None:
    for name in ("pending", "started", "success", "error", "timeout", "overdue"):
        assert TaskStatus[name].value == TaskStatus(name).value == name
    for name in ("sync", "async_", "thread", "process"):
        assert TaskExecutionMode[name].value == TaskExecutionMode(name).value == name
    assert issubclass(TaskStatus, Enum)
    assert issubclass(TaskExecutionMode, Enum)


@says(
    "`Task`",
    "`KapustaError`, `KapustaValueError` (a negative timeout or overdue delta), `KapustaSyncTaskTimeoutError` (a "
    "timeout on a `sync` task), `KapustaExecutionModeError` (mode and function do not fit)",
)
async def errors(stage: Stage) -> None:
    kapusta = stage.kapusta()

    async def coroutine() -> None: ...

    with pytest.raises(door.KapustaValueError):
        kapusta.register_task(plain, "thread", timeout=-1)
    with pytest.raises(door.KapustaValueError):
        kapusta.register_task(plain, overdue_time_delta=timedelta(seconds=-1))
    with pytest.raises(door.KapustaSyncTaskTimeoutError):
        kapusta.register_task(plain, timeout=1)
    with pytest.raises(door.KapustaExecutionModeError):
        kapusta.register_task(coroutine, "thread")
    assert isinstance(kapusta.register_task(plain), door.Task)
    assert issubclass(door.KapustaValueError, door.KapustaError)


@says(
    "the modules `kapusta.types` (`Seconds`, `TaskId`), `kapusta.crud` (`BaseCRUD`, `AlchemyCRUD`), `kapusta.models` "
    "(the enums) and `kapusta.core` (`Kapusta`, `Task`, the errors)",
)
async def modules(stage: Stage) -> None:
    errors = ("KapustaError", "KapustaValueError", "KapustaSyncTaskTimeoutError", "KapustaExecutionModeError")
    for module, names in {
        "kapusta.types": ("Seconds", "TaskId"),
        "kapusta.crud": ("BaseCRUD", "AlchemyCRUD"),
        "kapusta.models": ("TaskStatus", "TaskExecutionMode"),
        "kapusta.core": ("Kapusta", "Task", *errors),
    }.items():
        for name in names:
            assert getattr(importlib.import_module(module), name) is getattr(door, name)


@says("`overdue_time_delta=` as another spelling of `overdue_time=` in `register_task`")
async def overdue_time_delta(stage: Stage) -> None:
    kapusta, hour = stage.kapusta(), timedelta(hours=1)
    one = kapusta.register_task(plain, name="one", overdue_time_delta=hour)
    other = kapusta.register_task(plain, name="other", overdue_time=hour)
    assert one.overdue_time_delta == other.overdue_time_delta == hour


@says("a `timeout` of `0` for none")
async def no_timeout(stage: Stage) -> None:
    kapusta = stage.kapusta(default_timeout=0)

    async def slow() -> None:
        await stage.clock.sleep(600)

    async with kapusta:
        default = await kapusta.register_task(slow, name="default").launch()
        given = await kapusta.register_task(slow, name="given", timeout=0).launch()
        await stage.clock.advance(minutes=11)
        assert [await default.status(), await given.status()] == [TaskStatus.success] * 2
    kapusta.register_task(plain, timeout=0)


@says("the attribute `Kapusta.crud`")
async def crud(stage: Stage) -> None:
    store = stage.crud()
    assert door.Kapusta(store).crud is store


@says(
    "`Kapusta.create_listening_task()` and `stop_listening_task()`, so that `crud.startup()` followed by `launch()` "
    "stores a task with nothing running it, until the listening task is created",
)
async def listening_task(stage: Stage) -> None:
    kapusta = stage.kapusta()
    task = kapusta.register_task(plain)
    await kapusta.crud.startup()
    first = await task.launch()
    await stage.clock.advance(minutes=10)
    assert await first.status() is TaskStatus.pending

    kapusta.create_listening_task()
    await stage.clock.settle()
    assert await first.status() is TaskStatus.success

    kapusta.stop_listening_task()
    second = await task.launch()
    await stage.clock.advance(minutes=10)
    assert await second.status() is TaskStatus.pending


@says("its `process` mode runs in a thread")
async def process(stage: Stage) -> None:
    kapusta = stage.kapusta()
    async with kapusta:
        task = await kapusta.register_task(where, "process").launch()
        await kapusta.run_until_idle()
        assert (await task.result())[0] != os.getpid()


@says("retries live in a loop in memory")
async def retries(stage: Stage) -> None:
    async def fail() -> None:
        raise ValueError

    first, second = stage.kapusta(), stage.kapusta()
    tasks = [each.register_task(fail, name="t", max_retry_attempts=1, backoff=60) for each in (first, second)]
    await first.crud.startup()
    task = await tasks[0].launch()
    await first.run_until_idle()
    await first.shutdown()
    (stored,) = await stage.stored()
    assert (stored.status, stored.failures) == (TaskStatus.pending, 1)

    stage.clock.shift(seconds=61)
    await second.crud.startup()
    await second.run_until_idle()

    (stored,) = await stage.stored()
    assert (stored.id, stored.status, stored.failures) == (task, TaskStatus.error, 2)


@says("`launch(update_params=…)` changes the task for ever")
async def update_params(stage: Stage) -> None:
    kapusta = stage.kapusta()
    task = kapusta.register_task(plain, "thread", timeout=5)
    await kapusta.crud.startup()
    await task.launch(update_params={"timeout": 99, "eta_delta": 60, "max_retry_attempts": 7})
    await task.launch()
    changed, unchanged = await stage.stored()
    assert (task.timeout, task.eta_delta, task.max_retry_attempts) == (5, None, 0)
    assert changed.options != unchanged.options
    assert changed.eta - unchanged.eta > timedelta(seconds=59)


@says("`launch_now` passes `eta_delta` on to the function")
async def launch_now(stage: Stage) -> None:
    kapusta = stage.kapusta()

    @kapusta.task(eta_delta=60)
    def seen(**given: int) -> dict[str, int]:
        return given

    async with kapusta:
        task = await seen.launch_now(a=1)
        await kapusta.run_until_idle()
        assert await task.result() == {"a": 1}


@says("the loop runs one task at a time and sleeps up to `max_tick_interval` while new tasks wait")
async def one_at_a_time(stage: Stage) -> None:
    kapusta = stage.kapusta(max_tick_interval=300)
    both = asyncio.Barrier(2)

    @kapusta.task()
    async def meet() -> None:
        await both.wait()

    async with kapusta:
        await stage.clock.advance(seconds=1)
        tasks = [await meet.launch(), await meet.launch()]
        await stage.clock.settle()
        assert [await task.status() for task in tasks] == [TaskStatus.success] * 2


@says("a crash leaves tasks `started` for ever")
async def crash(stage: Stage) -> None:
    kapusta = stage.kapusta(lease=30)
    task = await_launch = kapusta.register_task(plain, name="t")
    await kapusta.crud.startup()
    handle = await await_launch.launch()
    slots = dict.fromkeys(TaskExecutionMode, 1)
    request = ClaimRequest(
        worker="that crashes", lease=timedelta(seconds=30), slots=slots, names=frozenset({"t"})
    )
    assert (await kapusta.crud.claim_tasks(request)).tasks
    assert await handle.status() is TaskStatus.started

    kapusta.create_listening_task()
    await stage.clock.advance(seconds=60)

    assert await handle.status() is TaskStatus.success
    assert task.name == "t"


@says("a timeout is followed by a success")
async def timeout_then_success(stage: Stage) -> None:
    kapusta = stage.kapusta()
    gate, began = threading.Event(), threading.Event()

    @kapusta.task("thread", timeout=5)
    def slow() -> str:
        began.set()
        gate.wait(30)
        return "late"

    async with kapusta:
        task = await slow.launch()
        await asyncio.to_thread(began.wait, 30)
        stage.clock.shift(seconds=6)
        with pytest.raises(door.TaskFailedError, match="ended as 'timeout'"):
            await task.result()
        gate.set()
        await kapusta.run_until_idle()
        assert await task.status() is TaskStatus.timeout
    (stored,) = await stage.stored()
    assert (stored.status, stored.result) == (TaskStatus.timeout, None)


@says("datetimes are naive")
async def aware(stage: Stage) -> None:
    kapusta = stage.kapusta(default_overdue_time_delta=3600)
    async with kapusta:
        await kapusta.register_task(plain).launch()
        await kapusta.run_until_idle()
    (stored,) = await stage.stored()
    moments = (stored.eta, stored.deadline, stored.created, stored.started, stored.finished)
    assert all(isinstance(moment, datetime) and moment.tzinfo is UTC for moment in moments)


@says("two functions of one name silently replace each other")
async def duplicate(stage: Stage) -> None:
    kapusta = stage.kapusta()
    kapusta.register_task(plain)
    with pytest.raises(DuplicateTaskError):
        kapusta.register_task(plain)


@says("payloads are pickled, so whoever can write a row can run code")
async def payloads(stage: Stage) -> None:
    kapusta = stage.kapusta()

    @kapusta.task()
    def echo(moment: datetime, names: set[str]) -> set[str]:
        return names

    async with kapusta:
        await echo.launch(stage.clock.now(), {"a"})
        await kapusta.run_until_idle()
    (stored,) = await stage.stored()
    assert stored.codec == "json"
    assert json.loads(stored.payload)["names"] == ["a"]
    assert json.loads(stored.result or b"") == ["a"]
    assert isinstance(json.loads(stored.options), dict)


@says("`Logger()` objects stand outside the logging tree")
async def logging_tree(stage: Stage) -> None:
    logger = stage.kapusta().logger
    assert logger is logging.getLogger("kapusta")
    assert logger.parent is logging.getLogger()
    assert logger.handlers == []
    assert logger.level == logging.NOTSET
