"""A program as its author wrote it for kapusta 0.1.5, with every name that the brief lists."""

import asyncio
import datetime
import logging
import sys
import time

from kapusta import AlchemyCRUD, BaseCRUD, Kapusta, TaskExecutionMode, TaskStatus
from kapusta.core import (
    Kapusta as CoreKapusta,
    KapustaError,
    KapustaExecutionModeError,
    KapustaSyncTaskTimeoutError,
    KapustaValueError,
    Task,
)
from kapusta.crud import AlchemyCRUD as CrudAlchemyCRUD, BaseCRUD as CrudBaseCRUD
from kapusta.models import TaskExecutionMode as ModelsMode, TaskStatus as ModelsStatus
from kapusta.types import Seconds, TaskId

assert (CoreKapusta, CrudAlchemyCRUD, CrudBaseCRUD) == (Kapusta, AlchemyCRUD, BaseCRUD)
assert (ModelsMode, ModelsStatus) == (TaskExecutionMode, TaskStatus)

SECOND: Seconds = 1

logging.basicConfig(level=logging.CRITICAL)

kapusta = Kapusta(
    crud=AlchemyCRUD(sys.argv[1]),
    logger=logging.getLogger("kapusta"),
    max_tick_interval=60 * 5,
    default_overdue_time_delta=None,
    default_max_retry_attempts=0,
    default_timeout=60,
)


@kapusta.task()
def sync_task(word):
    print("sync", word)
    return word


@kapusta.task(execution_mode=TaskExecutionMode.async_, timeout=5 * SECOND)
async def async_task(word):
    await asyncio.sleep(0)
    return word


@kapusta.task(execution_mode=TaskExecutionMode.thread, timeout=0)
def thread_task(word="default"):
    return word


@kapusta.task(eta_delta=datetime.timedelta(hours=1), overdue_time=datetime.timedelta(hours=2))
def later_task(word):
    return word


@kapusta.task(max_retry_attempts=0)
def failing_task():
    raise ValueError("no")


@kapusta.task(execution_mode=TaskExecutionMode.thread, timeout=0.2)
def slow_task():
    time.sleep(0.6)
    return "too late"


def plain(word):
    return word


process_task = kapusta.register_task(
    plain,
    execution_mode=TaskExecutionMode.process,
    overdue_time_delta=datetime.timedelta(minutes=10),
    max_retry_attempts=1,
    timeout=30,
)


def refused(error, **options):
    try:
        kapusta.register_task(plain, **options)
    except error as problem:
        assert isinstance(problem, KapustaError)
        return
    raise AssertionError(options)


async def ended(task_id: TaskId):
    while await kapusta.get_task_status(task_id) in (TaskStatus.pending, TaskStatus.started):
        await asyncio.sleep(0.01)
    status = await kapusta.get_task_status(task_id)
    return status.value, await kapusta.get_task_result(task_id)


async def main():
    assert isinstance(kapusta.crud, BaseCRUD)
    assert isinstance(sync_task, Task)
    refused(KapustaValueError, execution_mode=TaskExecutionMode.thread, timeout=-1)
    refused(KapustaValueError, overdue_time_delta=datetime.timedelta(seconds=-1))
    refused(KapustaSyncTaskTimeoutError, execution_mode=TaskExecutionMode.sync, timeout=5)
    refused(KapustaExecutionModeError, execution_mode=TaskExecutionMode.async_)

    await kapusta.crud.startup()
    stored = await sync_task.launch(word="stored")
    overdue = await later_task.launch(
        word="overdue",
        update_params={"eta_delta": None, "overdue_time": datetime.timedelta(microseconds=1)},
    )
    assert await kapusta.get_task_result(stored) is None
    assert await kapusta.get_task_status(stored) == TaskStatus.pending
    kapusta.create_listening_task()
    print(*await ended(stored))
    print(*await ended(overdue))
    kapusta.stop_listening_task()

    await kapusta.startup()
    print(*await ended(await async_task.launch(word="async")))
    print(*await ended(await thread_task.launch(update_params={"max_retry_attempts": 1})))
    print(*await ended(await process_task.launch(word="process")))
    print(*await ended(await later_task.launch_now(word="now")))
    print(*await ended(await failing_task.launch()))
    print(*await ended(await slow_task.launch()))
    later = await later_task.launch(word="later")
    assert await kapusta.get_task_status(later) == TaskStatus.pending
    await kapusta.shutdown()


if __name__ == "__main__":
    asyncio.run(main())
