"""Shutting down: what runs may finish, what does not is given back, and it always comes to an end."""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from datetime import timedelta

import pytest

from kapusta import Kapusta, TaskStatus
from kapusta.backend import StoredTask
from kapusta.testing import ManualClock
from kapusta_memory import MemoryCRUD
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.eventually import eventually
from tests.worker.scripted import ScriptedCRUD
from tests.worker.stored import stored


class Body:
    """A body on the loop that waits until it is let go, and knows what has happened to it."""

    def __init__(self, *, stubborn: bool = False) -> None:
        self.begun, self.let_go, self.cancelled = asyncio.Event(), asyncio.Event(), False
        self._stubborn = stubborn

    async def __call__(self) -> str:
        """Wait; `stubborn`: through one cancellation."""
        self.begun.set()
        try:
            await self.let_go.wait()
        except asyncio.CancelledError:
            self.cancelled = True
            if not self._stubborn:
                raise
            await self.let_go.wait()
        return "done"


async def begun(kapusta: Kapusta, body: Body, **options: object) -> int:
    """Launch *body* and return its id once it runs."""
    task = kapusta.register_task(body, name="body", **options)  # type: ignore[call-overload]  # options of a task
    await kapusta.startup()
    handle = await task.launch()
    await asyncio.wait_for(body.begun.wait(), 10)
    return int(handle)


async def look_again(open_store: OpenStore, task_id: int) -> StoredTask:
    """The task as another handle sees it."""
    crud = open_store()
    await crud.startup()
    try:
        return await stored(crud, task_id)
    finally:
        await crud.shutdown()


async def test_what_runs_may_finish_within_the_grace(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A body that ends within `grace` ends as it would have, and its outcome is stored before the store is closed."""
    kapusta = make_kapusta(open_store(), grace=20)
    body = Body()
    task_id = await begun(kapusta, body)

    closing = asyncio.create_task(kapusta.shutdown())
    await asyncio.sleep(0.05)
    body.let_go.set()
    await closing

    task = await look_again(open_store, task_id)
    assert (task.status, task.result, body.cancelled) == (TaskStatus.success, b'"done"', False)


async def test_what_is_stopped_is_given_back_at_no_cost(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A body that outlasts `grace` is cancelled and its task waits again: an interruption, no attempt and no crash."""
    kapusta = make_kapusta(open_store(), grace=0)
    body = Body()
    task_id = await begun(kapusta, body)

    await kapusta.shutdown()

    task = await look_again(open_store, task_id)
    counts = (task.interruptions, task.failures, task.crashes)
    assert body.cancelled
    assert task.status is TaskStatus.pending
    assert counts == (1, 0, 0)


async def test_a_body_that_sleeps_in_real_time_under_a_moved_clock_is_stopped(
    open_store: OpenStore,
    make_kapusta: MakeKapusta,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A fixture that shuts down must not fail, nor leave the application started for every later test."""
    monkeypatch.setattr("kapusta.testing.clock.PATIENCE", 0.05)
    kapusta = make_kapusta(open_store(ManualClock()))
    began = asyncio.Event()

    @kapusta.task(timeout=None, name="sleeper")
    async def sleeper() -> None:
        began.set()
        await asyncio.sleep(3600)

    await kapusta.startup()
    handle = await sleeper.launch()
    await began.wait()

    await kapusta.shutdown()

    assert f"Task {int(handle)} 'sleeper' still runs" in caplog.text
    record = await look_again(open_store, handle)
    assert (record.status, record.interruptions) == (TaskStatus.pending, 1)
    with kapusta.using(MemoryCRUD()):  # refused while it is started
        pass


async def test_a_thread_that_sleeps_under_a_moved_clock_keeps_no_shutdown(
    open_store: OpenStore, make_kapusta: MakeKapusta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can stop it: it is left to its lease, as in real time."""
    monkeypatch.setattr("kapusta.testing.clock.PATIENCE", 0.05)
    kapusta = make_kapusta(open_store(ManualClock()))
    began, end = threading.Event(), threading.Event()

    @kapusta.task("thread", timeout=None)
    def sleeper() -> None:
        began.set()
        end.wait(60)

    await kapusta.startup()
    handle = await sleeper.launch()
    await asyncio.to_thread(began.wait, 20)

    await kapusta.shutdown()
    end.set()

    assert (await look_again(open_store, handle)).status is TaskStatus.started


async def test_what_is_told_to_stop_has_time_for_it(open_store: OpenStore, make_kapusta: MakeKapusta) -> None:
    """A body that is not through with its cancellation at once is waited for, and what it says then is stored."""
    kapusta = make_kapusta(open_store(), grace=0)
    body = Body(stubborn=True)
    task_id = await begun(kapusta, body)

    closing = asyncio.create_task(kapusta.shutdown())
    await eventually(lambda: body.cancelled, "it is told")
    closed_early, _ = await asyncio.wait({closing}, timeout=0.05)
    body.let_go.set()
    await closing

    task = await look_again(open_store, task_id)
    assert not closed_early
    assert (task.status, task.result) == (TaskStatus.success, b'"done"')


async def test_what_must_not_run_twice_is_held_when_it_is_stopped(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """With on_crash="hold" a body that a shutdown stopped is a crash like any other: it may have done half its work."""
    kapusta = make_kapusta(in_memory(), grace=0)
    task_id = await begun(kapusta, Body(), on_crash="hold")

    await kapusta.shutdown()

    task = await look_again(in_memory, task_id)
    assert (task.status, task.crashes) == (TaskStatus.held, 1)


async def test_shutting_down_twice_is_once(open_store: OpenStore, make_kapusta: MakeKapusta) -> None:
    """In a row, at once, and before anything was started."""
    kapusta = make_kapusta(open_store())

    await kapusta.shutdown()
    await kapusta.startup()
    await asyncio.gather(kapusta.shutdown(), kapusta.shutdown())
    await kapusta.shutdown()

    assert not [task for task in asyncio.all_tasks() if task.get_name().startswith("kapusta")]


async def test_a_shutdown_that_comes_during_the_startup_is_not_lost(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """When both have returned nothing runs, whichever way they were interleaved."""
    kapusta = make_kapusta(open_store())
    task = kapusta.register_task(lambda: None, name="task")

    await asyncio.gather(kapusta.startup(), kapusta.shutdown())
    starting = asyncio.create_task(kapusta.startup())
    await asyncio.sleep(0)
    await kapusta.shutdown()
    await starting

    assert task.name == "task"
    assert not [each for each in asyncio.all_tasks() if each.get_name().startswith("kapusta")]


async def test_a_startup_that_hangs_can_be_given_up(in_memory: OpenStore, make_kapusta: MakeKapusta) -> None:
    """Cancelling `startup()` lets `shutdown()` through, and a later `startup()` works."""
    store = ScriptedCRUD(in_memory())
    kapusta = make_kapusta(store, store_timeout=0.1)
    store.script.stuck = {"startup"}
    starting = asyncio.create_task(kapusta.startup())
    await asyncio.sleep(0.01)

    starting.cancel()
    async with asyncio.timeout(5):
        await kapusta.shutdown()
        await asyncio.wait({starting})
        store.script.stuck = set()
        await kapusta.startup()

    assert starting.cancelled()


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
async def test_a_store_that_hangs_keeps_nobody(
    kind: str, request: pytest.FixtureRequest, make_kapusta: MakeKapusta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`shutdown()` returns when the store answers nothing, not even that it is closed, with a body under way."""
    monkeypatch.setattr("kapusta._worker.STOPPING", timedelta(milliseconds=50))
    open_store: OpenStore = request.getfixturevalue("in_memory" if kind == "memory" else "on_sqlite")
    store = ScriptedCRUD(open_store())
    kapusta = make_kapusta(store, grace=0, store_timeout=0.1, lease=1)
    body = Body()
    await begun(kapusta, body)

    store.script.stuck = {"*"}
    began = time.monotonic()
    async with asyncio.timeout(10):
        await kapusta.shutdown()
    took = time.monotonic() - began

    assert body.cancelled
    assert took < 2
    store.script.stuck = set()


async def test_a_body_that_will_not_stop_is_left_behind(
    in_memory: OpenStore, make_kapusta: MakeKapusta, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`shutdown()` does not wait for ever for a body that swallows its cancellation; its task is left to its lease."""
    monkeypatch.setattr("kapusta._worker.STOPPING", timedelta(milliseconds=50))
    kapusta = make_kapusta(in_memory(), grace=0)
    body = Body(stubborn=True)
    task_id = await begun(kapusta, body)

    async with asyncio.timeout(10):
        await kapusta.shutdown()
    task = await look_again(in_memory, task_id)
    body.let_go.set()

    assert body.cancelled
    assert task.status is TaskStatus.started


async def test_a_thread_that_cannot_be_stopped_is_abandoned(
    in_memory: OpenStore, make_kapusta: MakeKapusta, caplog: pytest.LogCaptureFixture
) -> None:
    """It may still be at work, so its task is not given back: it stays `started` until its lease ends, and a line says so."""
    kapusta = make_kapusta(in_memory(), grace=0)
    gate, has_begun = threading.Event(), threading.Event()

    def stuck() -> None:
        has_begun.set()
        gate.wait(20)

    task = kapusta.register_task(stuck, "thread", name="stuck")
    await kapusta.startup()
    handle = await task.launch()
    await eventually(has_begun.is_set, "it has begun")

    with caplog.at_level(logging.WARNING):
        await kapusta.shutdown()
    record = await look_again(in_memory, handle)
    gate.set()

    assert record.status is TaskStatus.started
    assert "it is abandoned, and rescued when its lease ends" in caplog.text
