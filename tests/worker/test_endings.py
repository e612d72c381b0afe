"""How a body can end, mode by mode, and what is made of it."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest

from kapusta import Kapusta, ResultNotStoredError, TaskFailedError, TaskStatus
from kapusta.backend import Change, ChangeAnswer, Guard
from kapusta.testing import ManualClock
from kapusta_memory import MemoryCRUD
from tests.worker import bodies
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.eventually import eventually
from tests.worker.stored import stored

colour: contextvars.ContextVar[str] = contextvars.ContextVar("colour", default="none")


async def leave() -> None:
    """On the loop."""
    raise SystemExit(3)


async def run_out_of_time() -> None:
    """On the loop."""
    raise TimeoutError("the peer did not answer")


@pytest.mark.parametrize(
    ("mode", "body"),
    [("async_", leave), ("sync", bodies.leave), ("thread", bodies.leave), ("process", bodies.leave)],
)
async def test_a_body_that_wants_to_end_the_interpreter_ends_itself(
    mode: str, body: Callable[[], object], in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """`SystemExit` is the error of its task in every mode; the worker lives on, and runs the next one."""
    kapusta = make_kapusta(in_memory())
    task = kapusta.register_task(body, mode)
    after = kapusta.register_task(lambda: "alive", name="after")
    await kapusta.startup()

    handle = await task.launch()
    with pytest.raises(TaskFailedError, match="SystemExit") as failed:
        await handle.result(timeout=20)

    assert failed.value.status is TaskStatus.error
    assert await (await after.launch()).result(timeout=20) == "alive"


@pytest.mark.parametrize(
    ("mode", "body"),
    [
        ("async_", run_out_of_time),
        ("sync", bodies.run_out_of_time),
        ("thread", bodies.run_out_of_time),
        ("process", bodies.run_out_of_time),
    ],
)
async def test_a_timeout_of_the_bodys_own_is_an_error(
    mode: str, body: Callable[[], object], in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """`TimeoutError` raised by the user's code, by a socket say, is an `error` with its traceback, not a `timeout`."""
    kapusta = make_kapusta(in_memory())
    handle_task = kapusta.register_task(body, mode)
    await kapusta.startup()

    handle = await handle_task.launch()
    with pytest.raises(TaskFailedError) as failed:
        await handle.result(timeout=20)

    assert failed.value.status is TaskStatus.error
    assert "the peer did not answer" in (failed.value.error or "")


async def test_a_body_that_catches_its_timeout_has_timed_out_all_the_same(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A body that swallows CancelledError and returns late is a `timeout`: a success would deny what was promised."""
    clock = ManualClock()
    kapusta = make_kapusta(in_memory(clock))

    @kapusta.task(timeout=10)
    async def stubborn() -> str:
        try:
            await clock.sleep(60)
        except asyncio.CancelledError:
            await clock.sleep(1)
        return "done"

    await kapusta.startup()
    handle = await stubborn.launch()
    await clock.advance(seconds=30)

    assert await handle.status() is TaskStatus.timeout


async def test_a_task_that_timed_out_does_not_succeed_later(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A timeout without a retry left is final, counts as a failure, and names the seconds."""
    clock = ManualClock()
    kapusta = make_kapusta(open_store(clock))

    @kapusta.task(timeout=10)
    async def slow() -> str:
        await clock.sleep(60)
        return "late"

    await kapusta.startup()
    handle = await slow.launch()
    await clock.advance(minutes=5)

    task = await stored(kapusta, handle)
    assert (task.status, task.failures, task.result) == (TaskStatus.timeout, 1, None)
    assert "its timeout of 10 s" in (task.error or "")


async def test_the_retry_of_a_thread_does_not_start_beside_it(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A thread that outlives its timeout stays `started` while a retry is left, and the retry waits for its end."""
    kapusta = make_kapusta(in_memory())
    gate, begun = threading.Event(), []

    @kapusta.task(execution_mode="thread", timeout=0.05, max_retry_attempts=1, backoff=0)
    def stuck() -> str:
        begun.append(len(begun))
        if len(begun) == 1:
            gate.wait(20)
        return "second"

    await kapusta.startup()
    handle = await stuck.launch()
    await asyncio.sleep(0.3)  # in which a retry that did not wait would have begun
    alone, status = len(begun), await handle.status()
    gate.set()

    assert (alone, status) == (1, TaskStatus.started)
    assert await handle.result(timeout=10) == "second"
    assert (await stored(kapusta, handle)).failures == 1


async def test_a_thread_that_outlived_its_timeout_may_still_run_when_a_person_retries_its_task(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """Without a retry left its task has ended: whoever retries it has the second run beside the first, whose answer is lost."""
    kapusta = make_kapusta(in_memory(), max_threads=2)
    gate, begun, ended = threading.Event(), [], threading.Event()

    @kapusta.task(execution_mode="thread", timeout=0.05)
    def stuck() -> str:
        begun.append(len(begun))
        if len(begun) > 1:
            return "second"
        gate.wait(20)
        ended.set()
        return "first"

    await kapusta.startup()
    handle = await stuck.launch()
    with pytest.raises(TaskFailedError):
        await handle.result(timeout=10)
    assert await handle.retry()

    assert await handle.result(timeout=10) == "second"
    assert not ended.is_set()
    gate.set()
    await asyncio.to_thread(ended.wait, 10)
    assert await handle.result(timeout=10) == "second"


async def test_a_thread_that_outlives_its_timeout_keeps_its_slot(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """Without a retry left it is a `timeout` at once; but no other thread starts in its place before it has ended."""
    kapusta = make_kapusta(in_memory(), max_threads=1)
    gate, ran = threading.Event(), threading.Event()
    stuck = kapusta.register_task(lambda: gate.wait(20), "thread", name="stuck", timeout=0.05)
    other = kapusta.register_task(ran.set, "thread", name="other")

    await kapusta.startup()
    handle = await stuck.launch()
    with pytest.raises(TaskFailedError) as failed:
        await handle.result(timeout=10)
    next_one = await other.launch()
    await asyncio.sleep(0.2)  # in which it would have begun if it could
    ran_early = ran.is_set()
    gate.set()

    assert failed.value.status is TaskStatus.timeout
    assert not ran_early
    await next_one.result(timeout=10)


def test_a_thread_whose_loop_has_gone_before_its_body_ends_with_it() -> None:
    """A shutdown leaves a body behind, and the loop is closed in the moment in which that ends: no thread stays for ever."""
    before = set(threading.enumerate())
    gate, begun = threading.Event(), threading.Event()

    def stuck() -> None:
        begun.set()
        gate.wait(20)

    async def live() -> None:
        kapusta = Kapusta(MemoryCRUD(), grace=0)
        task = kapusta.register_task(stuck, "thread")
        async with kapusta:
            await task.launch()
            await asyncio.to_thread(begun.wait, 10)
        loop = asyncio.get_running_loop()
        kept = loop.call_soon_threadsafe

        def lost(callback: Callable[..., object], *arguments: object, **options: Any) -> Any:
            """Take it, as a loop does that is about to close, and never call it."""
            return (
                kept(lambda: None)
                if threading.current_thread().name == "kapusta-task"
                else kept(callback, *arguments, **options)
            )

        loop.call_soon_threadsafe = lost  # type: ignore[method-assign]  # the test's own loop
        gate.set()
        for thread in set(threading.enumerate()) - before:
            if thread.name == "kapusta-task":
                await asyncio.to_thread(thread.join, 10)

    asyncio.run(live())

    assert not [thread for thread in set(threading.enumerate()) - before if thread.name == "kapusta-task"]


async def test_a_thread_sees_the_context_and_cannot_change_it(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """Context variables are copied to threads, and what a body sets is gone with it."""
    kapusta = make_kapusta(in_memory(), max_threads=1)

    @kapusta.task(execution_mode="thread")
    def paint() -> str:
        before = colour.get()
        colour.set("red")
        return before

    token = colour.set("blue")
    await kapusta.startup()
    colour.reset(token)

    first = await (await paint.launch()).result(timeout=10)
    second = await (await paint.launch()).result(timeout=10)

    assert (first, second) == ("blue", "blue")


async def test_a_result_that_cannot_be_stored_is_a_success_without_one(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """The work is done, so the task is a success, is not run again, and its reason says what was wrong."""
    kapusta = make_kapusta(open_store())
    ran = []

    @kapusta.task(max_retry_attempts=3, backoff=0)
    async def odd() -> object:
        ran.append(1)
        return object()

    await kapusta.startup()
    handle = await odd.launch()
    with pytest.raises(ResultNotStoredError):
        await handle.result(timeout=10)

    task = await stored(kapusta, handle)
    assert (task.status, task.result, ran) == (TaskStatus.success, None, [1])
    assert "its result was not stored" in (task.reason or "")


async def price_list() -> object:
    """On the loop."""
    return bodies.price_list()


@pytest.mark.parametrize(
    ("mode", "body"),
    [
        ("async_", price_list),
        ("sync", bodies.price_list),
        ("thread", bodies.price_list),
        ("process", bodies.price_list),
    ],
)
async def test_a_result_that_arrives_as_something_else_is_said_to(
    mode: str,
    body: Callable[[], object],
    in_memory: OpenStore,
    make_kapusta: MakeKapusta,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The task is a success, and its result is stored; but nobody finds out in production that its keys are text."""
    kapusta = make_kapusta(in_memory())
    task = kapusta.register_task(body, mode)
    await kapusta.startup()
    handle = await task.launch()

    assert await handle.result(timeout=30) == {"1": "eA=="}

    change = "its result would arrive changed: {1: b'x'} as {'1': 'eA=='}"
    found = await stored(kapusta, handle)
    assert (found.status, found.reason, found.crashes) == (TaskStatus.success, change, 0)
    (record,) = [each for each in caplog.records if each.levelname == "ERROR"]
    assert change in record.getMessage()
    assert (vars(record)["event"], vars(record)["task_id"]) == ("task_result_problem", handle)


async def wait_forever() -> None:
    """On the loop."""
    await asyncio.Event().wait()


@pytest.mark.parametrize(("mode", "body"), [("async_", wait_forever), ("process", bodies.wait_forever)])
async def test_a_running_body_is_stopped_on_request(
    mode: str, body: Callable[[], object], on_sqlite: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """The page on the life of a task says so; a worker that ignored the request would run this body forever."""
    kapusta = make_kapusta(on_sqlite(), lease=3)
    task = kapusta.register_task(body, mode, timeout=None)
    await kapusta.startup()
    handle = await task.launch()

    async def runs() -> bool:
        return await handle.status() is TaskStatus.started

    await eventually(runs, "it runs")
    request = Change(id=int(handle), run=1, guard=Guard.running, cancel_requested=True)
    (answer,) = await kapusta.crud.change_tasks([request])

    assert answer.answer is ChangeAnswer.accepted
    with pytest.raises(TaskFailedError):
        await handle.result(timeout=30)
    found = await stored(kapusta, handle)
    assert (found.status, found.reason) == (TaskStatus.cancelled, "cancelled while it ran")
