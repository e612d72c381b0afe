"""Defining tasks, launching them, their results, and the rest."""
# ruff: noqa: D103 - what a check claims is the sentence above it

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest

from kapusta import (
    BaseCRUD,
    KapustaExecutionModeError,
    KapustaSyncTaskTimeoutError,
    Task,
    TaskExecutionMode,
    TaskStatus,
)
from tests.brief.bodies import where
from tests.brief.stage import ROOT, Page, Stage

PAGE = Page()
says = PAGE.says


async def coroutine() -> str:
    """A coroutine function."""
    return "coroutine"


def plain() -> str:
    """A plain one."""
    return "plain"


@says(
    "A task is a synchronous or asynchronous function, registered with `kapusta.register_task(func, …)` or the "
    "decorator `@kapusta.task(…)` (which calls `register_task`).",
)
async def registering(stage: Stage) -> None:
    kapusta = stage.kapusta()
    with mock.patch.object(kapusta, "register_task", wraps=kapusta.register_task) as registered:
        decorated = kapusta.task(name="decorated")(coroutine)
    registered.assert_called_once()
    tasks: list[Task[Any, Any]] = [decorated, kapusta.register_task(plain)]

    async with kapusta:
        handles = [await task.launch() for task in tasks]
        await kapusta.run_until_idle()
        assert [await handle.result() for handle in handles] == ["coroutine", "plain"]


@says("`execution_mode` (`TaskExecutionMode`, optional): `sync`, `async_`, `thread` or `process`.")
async def modes(stage: Stage) -> None:
    kapusta = stage.kapusta()
    for mode in (TaskExecutionMode.sync, TaskExecutionMode.thread, TaskExecutionMode.process):
        assert kapusta.register_task(where, mode, name=mode).execution_mode is mode
    assert (
        kapusta.register_task(coroutine, TaskExecutionMode.async_).execution_mode is TaskExecutionMode.async_
    )
    assert kapusta.task(execution_mode=TaskExecutionMode.thread)(plain).execution_mode == "thread"


@says("By default `async_` for a coroutine function, else `sync`.")
async def default_mode(stage: Stage) -> None:
    kapusta = stage.kapusta()
    assert kapusta.task()(coroutine).execution_mode is TaskExecutionMode.async_
    assert kapusta.task()(plain).execution_mode is TaskExecutionMode.sync


@says("`eta_delta` (`timedelta`, optional): delay before execution; `None` runs it at once.")
async def eta_delta(stage: Stage) -> None:
    kapusta = stage.kapusta()
    later = kapusta.register_task(plain, name="later", eta_delta=timedelta(minutes=30))
    at_once = kapusta.register_task(plain, name="at once", eta_delta=None)
    async with kapusta:
        tasks = [await later.launch(), await at_once.launch()]
        await stage.clock.settle()
        assert [await task.status() for task in tasks] == [TaskStatus.pending, TaskStatus.success]
        await stage.clock.advance(minutes=29)
        assert await tasks[0].status() is TaskStatus.pending
        await stage.clock.advance(minutes=1, seconds=1)
        assert await tasks[0].status() is TaskStatus.success


@says("`overdue_time` (`timedelta`): time after which the task is considered overdue.")
async def overdue_time(stage: Stage) -> None:
    kapusta = stage.kapusta()
    kapusta.register_task(lambda: stage.ran.append("late"), name="t", overdue_time=timedelta(hours=1))
    launcher = stage.kapusta()
    await launcher.crud.startup()
    task = await launcher.register_task(plain, name="t", overdue_time=timedelta(hours=1)).launch()
    stage.clock.shift(hours=1)

    async with kapusta:
        await kapusta.run_until_idle()
        assert await kapusta.get_task_status(task) is TaskStatus.overdue
    assert stage.ran == []


@says("`max_retry_attempts` (`int`, optional)")
async def max_retry_attempts(stage: Stage) -> None:
    kapusta = stage.kapusta()

    @kapusta.task(max_retry_attempts=2, backoff=10)
    def third_time_lucky() -> int:
        stage.ran.append(stage.clock.monotonic())
        if len(stage.ran) < 3:
            raise ValueError
        return len(stage.ran)

    async with kapusta:
        task = await third_time_lucky.launch()
        await stage.clock.advance(minutes=1)
        assert await task.result() == 3
    assert [round(later - sooner) for sooner, later in zip(stage.ran, stage.ran[1:], strict=False)] == [
        10,
        10,
    ]


@says("`timeout` (seconds, optional): the maximum time allowed for execution.")
async def timeout(stage: Stage) -> None:
    kapusta = stage.kapusta()

    @kapusta.task(timeout=5)
    async def slow(seconds: float) -> None:
        await stage.clock.sleep(seconds)

    async with kapusta:
        in_time, late = await slow.launch(4), await slow.launch(6)
        await stage.clock.advance(seconds=10)
        assert [await in_time.status(), await late.status()] == [TaskStatus.success, TaskStatus.timeout]


@says("`sync` runs in the thread where Kapusta runs, synchronously, and takes no timeout")
async def sync(stage: Stage) -> None:
    kapusta = stage.kapusta()

    @kapusta.task()
    def where_am_i() -> None:
        stage.ran.append((threading.current_thread(), asyncio.get_running_loop()))

    async with kapusta:
        await where_am_i.launch()
        await kapusta.run_until_idle()
    assert stage.ran == [(threading.current_thread(), asyncio.get_running_loop())]
    with pytest.raises(KapustaSyncTaskTimeoutError):
        kapusta.register_task(plain, TaskExecutionMode.sync, timeout=5)


@says("`async_` runs on the event loop")
async def async_(stage: Stage) -> None:
    kapusta = stage.kapusta()

    @kapusta.task()
    async def where_am_i() -> None:
        stage.ran.append(asyncio.get_running_loop())

    async with kapusta:
        await where_am_i.launch()
        await kapusta.run_until_idle()
    assert stage.ran == [asyncio.get_running_loop()]


@says("`thread` in a thread", "`process` in another process.")
async def thread_and_process(stage: Stage) -> None:
    kapusta = stage.kapusta()
    async with kapusta:
        thread = await kapusta.register_task(where, "thread", name="thread").launch()
        process = await kapusta.register_task(where, "process", name="process").launch()
        await kapusta.run_until_idle()
        (pid, name), (child, _) = await thread.result(), await process.result()
    assert pid == os.getpid() != child
    assert name != threading.current_thread().name


@says("`sync`, `thread` and `process` need a function without `async`.")
async def without_async(stage: Stage) -> None:
    kapusta = stage.kapusta()
    for mode in ("sync", "thread", "process"):
        with pytest.raises(KapustaExecutionModeError):
            kapusta.register_task(coroutine, mode)
    with pytest.raises(KapustaExecutionModeError):
        kapusta.register_task(plain, "async_")


@says("await sample_task.launch(param1=1, param2=2)", "positional ones are welcome here")
async def launch(stage: Stage) -> None:
    kapusta = stage.kapusta()

    @kapusta.task()
    def sample_task(param1: int, param2: int) -> int:
        return param1 * 10 + param2

    async with kapusta:
        tasks = [await sample_task.launch(param1=1, param2=2), await sample_task.launch(1, 2)]
        await kapusta.run_until_idle()
        assert [await task.result() for task in tasks] == [12, 12]


@says("await sample_task.launch_now(param1=1, param2=2)  # no eta_delta, whatever the task registered")
async def launch_now(stage: Stage) -> None:
    kapusta = stage.kapusta()

    @kapusta.task(eta_delta=timedelta(hours=1))
    def sample_task(param1: int, param2: int) -> int:
        return param1 + param2

    async with kapusta:
        task = await sample_task.launch_now(param1=1, param2=2)
        await kapusta.run_until_idle()
        assert await task.result() == 3


@says(
    "await sample_task.launch(param1=1, param2=2, update_params={'max_retry_attempts': 1})   # for this launch only"
)
async def update_params(stage: Stage) -> None:
    kapusta = stage.kapusta(default_backoff=None)

    @kapusta.task()
    def sample_task(param1: int, param2: int) -> None:
        stage.ran.append(param1)
        raise ValueError

    async with kapusta:
        await sample_task.launch(param1=1, param2=2, update_params={"max_retry_attempts": 1})
        await sample_task.launch(param1=2, param2=2)
        await kapusta.run_until_idle()
    assert sorted(stage.ran) == [1, 1, 2]
    assert sample_task.max_retry_attempts == 0


@says(
    "result = await kapusta.get_task_result(task_id)",
    "status = await kapusta.get_task_status(task_id)",
    "`get_task_result` giving `None` while there is no result",
)
async def results(stage: Stage) -> None:
    kapusta = stage.kapusta()
    task = kapusta.register_task(plain)
    await kapusta.crud.startup()
    task_id = await task.launch()
    assert await kapusta.get_task_result(task_id) is None
    assert await kapusta.get_task_status(task_id) is TaskStatus.pending

    await kapusta.run_until_idle()

    assert await kapusta.get_task_result(task_id) == "plain"
    assert await kapusta.get_task_status(task_id) is TaskStatus.success


@says("You can implement your own by extending `BaseCRUD` (`from kapusta import BaseCRUD`).")
async def own_crud(stage: Stage) -> None:
    assert inspect.isabstract(BaseCRUD)

    class Counting(type(stage.crud())):  # type: ignore[misc]  # whichever the store is
        """The store, and how often it was asked for work."""

        claims = 0

        async def claim_tasks(self, request: Any) -> Any:
            """Count."""
            type(self).claims += 1
            return await super().claim_tasks(request)

    assert issubclass(Counting, BaseCRUD)
    kapusta = stage.kapusta()
    kapusta.crud.__class__ = Counting
    task = kapusta.register_task(plain)
    async with kapusta:
        handle = await task.launch()
        await kapusta.run_until_idle()
        assert await handle.result() == "plain"
    assert Counting.claims > 0


@says("`pytest` runs the tests.")
async def testing(stage: Stage) -> None:
    assert 'testpaths = ["tests"' in (ROOT / "pyproject.toml").read_text()
    assert '"pytest"' in (ROOT / "noxfile.py").read_text()
