"""A task id that can be asked."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle

import msgspec
import pytest

from kapusta import (
    Kapusta,
    KapustaValueError,
    ResultNotStoredError,
    TaskFailedError,
    TaskHandle,
    TaskNotFinishedError,
    TaskNotFoundError,
    TaskStatus,
)
from kapusta.testing import ManualClock

handle: TaskHandle[int] = Kapusta("memory://").handle(7)


@pytest.mark.parametrize(
    "seen",
    [
        handle == 7 and hash(handle) == hash(7) and {7: "x"}[handle] == "x",
        repr(handle) == str(handle) == f"{handle}" == "7",
        handle + 1 == 8 and sorted([handle, 3]) == [3, 7],
        type(pickle.loads(pickle.dumps(handle))) is int and pickle.loads(pickle.dumps([handle])) == [7],
        type(copy.deepcopy(handle)) is int,
        msgspec.json.encode(int(handle)) == json.dumps(handle).encode() == b"7",
        json.dumps({"task": handle}) == '{"task": 7}',
    ],
)
def test_a_handle_is_its_id(*, seen: bool) -> None:
    """It goes into a dict, a log line, a pickle, a JSON document and a URL as the plain number."""
    assert seen


async def test_a_handle_is_an_argument_and_a_result_as_an_id(kapusta: Kapusta) -> None:
    """One task can be told of another."""
    seen = []

    @kapusta.task()
    def follow(other: int) -> int:
        seen.append(other)
        return other

    first = await follow.launch(1)
    second = await follow.launch(first)
    await kapusta.run_until_idle()

    assert seen == [1, int(first)]
    assert await second.result() == first
    assert [type(each) for each in seen] == [int, int]


async def test_a_handle_from_elsewhere_asks_the_same_task(kapusta: Kapusta) -> None:
    """The id alone is enough."""

    @kapusta.task()
    def answer() -> int:
        return 42

    launched = await answer.launch()
    again = kapusta.handle(int(launched))
    assert await again.status() is TaskStatus.pending
    await kapusta.run_until_idle()

    assert await again.result() == await launched.result() == 42
    assert await kapusta.get_task_result(again) == 42


@pytest.mark.parametrize("task_id", [1, 0, -1, 2**63, 2**70])
async def test_an_unknown_id_raises_from_a_handle_and_is_none_elsewhere(
    kapusta: Kapusta, task_id: int
) -> None:
    """Also an id that no database could hold."""
    unknown = kapusta.handle(task_id)

    for question in (unknown.status(), unknown.result(), unknown.cancel(), unknown.retry()):
        with pytest.raises(TaskNotFoundError) as caught:
            await question
        assert caught.value.task_id == task_id
    assert await kapusta.get_task_status(task_id) is None
    assert await kapusta.get_task_result(task_id) is None


async def test_a_result_is_waited_for(kapusta: Kapusta, clock: ManualClock) -> None:
    """Whoever asks before the task has run gets the answer when it has."""

    @kapusta.task(eta_delta=60)
    async def late() -> str:
        return "late"

    task = await late.launch()
    waiting = asyncio.create_task(task.result())
    kapusta.create_listening_task()
    await clock.advance(seconds=59)
    assert not waiting.done()

    await clock.advance(seconds=2)

    assert await waiting == "late"


async def test_waiting_ends_at_its_timeout_and_the_task_goes_on(kapusta: Kapusta, clock: ManualClock) -> None:
    """The error says where the task stands; a TimeoutError, too, for those who catch that."""

    @kapusta.task()
    def answer() -> int:
        return 42

    task = await answer.launch()
    waiting = asyncio.create_task(task.result(timeout=5))
    await clock.advance(seconds=4.9)
    assert not waiting.done()
    await clock.advance(seconds=0.2)

    with pytest.raises(TimeoutError) as caught:
        await waiting
    assert isinstance(caught.value, TaskNotFinishedError)
    assert (caught.value.task_id, caught.value.status, caught.value.timeout) == (task, TaskStatus.pending, 5)
    with pytest.raises(TaskNotFinishedError):
        await task.result(timeout=0)
    await kapusta.run_until_idle()
    assert await task.result(timeout=0) == 42


@pytest.mark.parametrize("timeout", [-1, float("nan"), float("inf")])
async def test_a_timeout_of_nonsense_is_refused(kapusta: Kapusta, timeout: float) -> None:
    """Nobody waits for a negative time."""
    with pytest.raises(KapustaValueError, match="timeout="):
        await kapusta.handle(1).result(timeout=timeout)


async def test_a_task_that_failed_raises_with_its_traceback(kapusta: Kapusta) -> None:
    """The error carries the task's id, name, status and traceback."""

    @kapusta.task(name="divide")
    def divide(by: int) -> float:
        return 1 / by

    task = await divide.launch(0)
    await kapusta.run_until_idle()

    with pytest.raises(
        TaskFailedError, match="ended as 'error': ZeroDivisionError: division by zero"
    ) as caught:
        await task.result()
    assert (caught.value.task_id, caught.value.name, caught.value.status) == (
        task,
        "divide",
        TaskStatus.error,
    )
    assert "return 1 / by" in (caught.value.error or "")
    assert await kapusta.get_task_result(task) is None


async def test_cancelling_and_retrying_by_hand(kapusta: Kapusta) -> None:
    """A task that waits is cancelled; it comes to life again by a retry, and ends for good."""

    @kapusta.task(eta_delta=60)
    def answer() -> int:
        return 42

    task = await answer.launch()
    assert await task.cancel() is True
    assert await task.cancel() is True
    assert await task.status() is TaskStatus.cancelled
    with pytest.raises(TaskFailedError, match="ended as 'cancelled': cancelled by hand"):
        await task.result()

    assert await task.retry() is True
    assert await task.retry() is True
    await kapusta.run_until_idle()

    assert await task.result() == 42
    assert await task.cancel() is False
    assert await task.status() is TaskStatus.success


async def test_whoever_waits_for_a_task_is_told_at_once_that_it_is_cancelled(
    kapusta: Kapusta, clock: ManualClock
) -> None:
    """In the same process, and without time to look again."""

    @kapusta.task(eta_delta=60)
    def answer() -> int:
        return 42

    task = await answer.launch()
    waiting = asyncio.create_task(task.result())
    await clock.settle()

    await task.cancel()
    await clock.settle()

    assert waiting.done()
    with pytest.raises(TaskFailedError, match="cancelled by hand"):
        await waiting


async def test_a_task_that_is_retried_by_hand_runs_at_once(kapusta: Kapusta, clock: ManualClock) -> None:
    """The worker here is woken for it, and does not find it by and by."""

    @kapusta.task(eta_delta=60)
    def answer() -> int:
        return 42

    task = await answer.launch()
    await task.cancel()
    kapusta.create_listening_task()
    await clock.settle()

    await task.retry()
    await clock.settle()

    assert await task.result(timeout=0) == 42


async def test_a_running_task_is_neither_cancelled_nor_retried(kapusta: Kapusta, clock: ManualClock) -> None:
    """Both answer that they did not: what runs goes on."""
    gate = asyncio.Event()

    @kapusta.task()
    async def slow() -> None:
        await gate.wait()

    task = await slow.launch()
    kapusta.create_listening_task()
    await clock.settle()

    answers = [await task.cancel(), await task.retry()]
    assert await task.status() is TaskStatus.started
    gate.set()

    assert answers == [False, False]
    assert await kapusta.handle(task).result() is None


async def test_a_result_that_was_not_stored_is_told_apart_from_none(kapusta: Kapusta) -> None:
    """``None`` is a result like any other."""

    @kapusta.task()
    def nothing() -> None: ...

    @kapusta.task()
    def unstorable() -> object:
        return object()

    tasks = [await nothing.launch(), await unstorable.launch()]
    await kapusta.run_until_idle()

    assert await kapusta.handle(tasks[0]).result() is None
    with pytest.raises(ResultNotStoredError, match="cannot be encoded as JSON") as caught:
        await tasks[1].result()
    assert caught.value.task_id == tasks[1]
    assert await tasks[1].status() is TaskStatus.success


async def test_whoever_stops_waiting_leaves_nothing_behind(kapusta: Kapusta, clock: ManualClock) -> None:
    """A cancelled wait neither harms the task nor keeps its place."""

    @kapusta.task()
    def answer() -> int:
        return 42

    task = await answer.launch()
    waiting = asyncio.create_task(task.result())
    await clock.settle()

    waiting.cancel()
    await asyncio.wait({waiting})
    await kapusta.run_until_idle()

    assert waiting.cancelled()
    assert kapusta._client._waiting == {}
    assert await task.result() == 42
