"""A launch that a free slot waits for is stored as started, in one write."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kapusta import Kapusta, OnCrash, Task, TaskStatus
from kapusta._launch_queue import PLACES
from kapusta._launcher import starts_at_once
from kapusta._options import Policy, TaskOptions
from kapusta.backend import (
    BaseCRUD,
    ClaimRequest,
    Claims,
    NewTask,
    StoredTask,
    StoreUnavailableError,
    TaskExecutionMode,
    TaskQuery,
)
from kapusta.testing import ManualClock
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.eventually import eventually
from tests.worker.scripted import ScriptedCRUD
from tests.worker.stored import stored

ASYNC = TaskExecutionMode.async_


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (TaskOptions(execution_mode=ASYNC, policy=Policy()), True),
        (TaskOptions(execution_mode=ASYNC, policy=Policy(on_crash=OnCrash.hold)), False),
        (TaskOptions(execution_mode=ASYNC, policy=Policy(max_crashes=1)), False),
        (TaskOptions(execution_mode=ASYNC, policy=Policy(max_crashes=None)), True),
        (TaskOptions(execution_mode=ASYNC, policy=Policy(overdue_time=timedelta(days=1))), False),
        (TaskOptions(execution_mode=ASYNC, policy=Policy(), eta_delta=timedelta(seconds=1)), False),
        (TaskOptions(execution_mode=ASYNC, policy=Policy(), eta_delta=timedelta(0)), True),
        (TaskOptions(execution_mode=ASYNC, policy=Policy(), eta=datetime(2020, 1, 1, tzinfo=UTC)), False),
    ],
)
def test_only_a_plain_launch_starts_at_once(options: TaskOptions, expected: bool) -> None:
    """A task that a crash holds would be held by a death between the write and the body; a later one must wait."""
    assert starts_at_once(options) is expected


class Scene:
    """A started worker on a scripted store that has found nothing due; written by the test's loop."""

    def __init__(self, crud: ScriptedCRUD, kapusta: Kapusta, clock: ManualClock) -> None:
        self.store, self.kapusta, self.clock = crud, kapusta, clock
        self.ran: list[int] = []
        self.launches: list[asyncio.Task[Any]] = []
        self.gate = asyncio.Event()
        self.gate.set()

        async def work(number: int = 0) -> None:
            self.ran.append(number)
            await self.gate.wait()

        self.task: Task[Any, Any] = kapusta.register_task(work, name="work")

    async def start(self) -> None:
        """Start the worker, and forget what it has asked so far."""
        await self.kapusta.startup()
        await self.clock.advance(seconds=1)
        self.store.script.asked.clear()


@pytest.fixture
async def scene(in_memory: OpenStore, make_kapusta: MakeKapusta) -> Scene:
    """A worker with two slots, at rest; in memory, where no watcher of a file wakes it."""
    clock = ManualClock()
    crud = ScriptedCRUD(in_memory(clock))
    scene = Scene(crud, make_kapusta(crud, max_concurrent_tasks=2), clock)
    await scene.start()
    return scene


async def test_a_launch_with_a_free_slot_is_one_write(scene: Scene) -> None:
    """Storing it, telling the worker and claiming it took three statements and as many round trips."""
    handle = await scene.task.launch(number=7)
    await scene.clock.settle()

    assert scene.store.script.asked == ["start_task", "change_tasks"]
    assert scene.ran == [7]
    assert await handle.status() is TaskStatus.success


async def test_a_launch_without_a_free_slot_waits_for_a_claim(scene: Scene) -> None:
    """A worker must not run more bodies than it has slots for."""
    scene.gate.clear()

    handles = [await scene.task.launch(number=number) for number in range(3)]
    await scene.clock.settle()

    assert scene.store.script.asked.count("start_task") == 2
    assert scene.ran == [0, 1]
    assert await handles[2].status() is TaskStatus.pending
    scene.gate.set()
    await scene.clock.settle()
    assert scene.ran == [0, 1, 2]


async def test_launches_at_once_take_no_more_slots_than_there_are(scene: Scene) -> None:
    """The slot is taken before the write: launches beside each other must not all see the same free one."""
    scene.gate.clear()

    await asyncio.gather(*(scene.task.launch(number=number) for number in range(10)))
    await scene.clock.settle()

    assert scene.store.script.asked.count("start_task") == 2
    assert len(scene.ran) == 2
    scene.gate.set()


async def test_launch_that_would_wait_for_its_turn_takes_no_slot(scene: Scene) -> None:
    """In a burst a reserved slot would stay idle until all earlier launches are stored."""
    scene.store.script.stuck = {"add_tasks"}
    later = [
        asyncio.create_task(scene.task.with_options(eta_delta=60).launch(number=number))
        for number in range(PLACES)
    ]
    await asyncio.sleep(0)
    waiting = asyncio.create_task(scene.task.launch(number=99))
    await scene.clock.settle()

    assert "start_task" not in scene.store.script.asked
    assert not waiting.done()
    scene.store.script.stuck = set()
    await scene.clock.advance(seconds=30)
    await asyncio.wait([waiting, *later])
    assert "start_task" not in scene.store.script.asked


async def test_a_launch_does_not_pass_tasks_that_are_due_already(scene: Scene) -> None:
    """Until a claim has found nothing more due, a free slot is for the tasks that wait."""
    await scene.task.launch_many([{"number": number} for number in (1, 2, 3)])
    await scene.task.launch(number=4)
    await scene.clock.settle()

    assert "start_task" not in scene.store.script.asked
    assert scene.ran == [1, 2, 3, 4]


async def test_a_paused_worker_starts_nothing(scene: Scene) -> None:
    """`stop_listening_task()` says that nothing more begins here."""
    scene.kapusta.stop_listening_task()

    handle = await scene.task.launch()
    await scene.clock.settle()

    assert (scene.ran, await handle.status()) == ([], TaskStatus.pending)
    assert "start_task" not in scene.store.script.asked


async def test_a_lost_reply_runs_the_task_once(scene: Scene) -> None:
    """It may be stored as started: then it is given back, at no cost, and the launch is known by its token."""
    scene.store.script.lose_replies = ["start_task"]

    handle = await scene.task.launch(number=1)
    await scene.clock.advance(seconds=5)

    record = await stored(scene.kapusta, handle)
    assert (record.status, record.run, scene.ran) == (TaskStatus.success, 2, [1])
    assert (record.crashes, record.failures, record.interruptions) == (0, 0, 0)
    await scene.task.launch(number=2)
    assert scene.store.script.asked.count("start_task") == 2  # the next one starts at once again


async def test_a_write_that_failed_is_repeated_as_a_plain_launch(scene: Scene) -> None:
    """A store that hiccups once must not make `launch()` raise."""
    scene.store.script.down = {"start_task"}

    handle = await scene.task.launch(number=1)
    await scene.clock.advance(seconds=5)

    assert await handle.status() is TaskStatus.success
    assert scene.ran == [1]


class SlowToStart(ScriptedCRUD):
    """Its answers to `start_task` wait for *gate*; written by the test's loop."""

    def __init__(self, crud: BaseCRUD) -> None:
        super().__init__(crud)
        self.is_stored, self.gate = asyncio.Event(), asyncio.Event()

    async def start_task(self, task: NewTask, request: ClaimRequest) -> Claims | None:
        """Store and claim at once, and answer when the gate opens."""
        try:
            return await super().start_task(task, request)
        finally:
            self.is_stored.set()
            await self.gate.wait()


@pytest.fixture
async def slow(in_memory: OpenStore, make_kapusta: MakeKapusta) -> Scene:
    """A worker at rest whose store answers a start when the test says so."""
    clock = ManualClock()
    crud = SlowToStart(in_memory(clock))
    scene = Scene(crud, make_kapusta(crud), clock)
    await scene.start()
    return scene


async def _launch_and_cancel(slow: Scene) -> asyncio.Task[Any]:
    """Launch, and cancel the caller once the task is stored."""
    assert isinstance(slow.store, SlowToStart)
    launch = asyncio.create_task(slow.task.launch(number=1))
    await slow.store.is_stored.wait()
    launch.cancel()
    await asyncio.wait([launch])
    slow.store.gate.set()
    return launch


async def test_a_launch_that_was_cancelled_runs_if_it_was_stored(slow: Scene) -> None:
    """A caller that goes away must leave no task started that no worker runs."""
    launch = await _launch_and_cancel(slow)
    await slow.clock.settle()

    assert launch.cancelled()
    assert slow.ran == [1]
    assert [change.status for change in slow.store.script.accepted()] == [TaskStatus.success]


async def test_a_cancelled_launch_whose_reply_was_lost_runs_too(slow: Scene) -> None:
    """No caller repeats it: the worker itself must give it back at once, not at the end of its lease."""
    slow.store.script.lose_replies = ["start_task"]

    await _launch_and_cancel(slow)
    await slow.clock.settle()

    assert slow.ran == [1]


async def test_a_shutdown_waits_for_a_start_that_is_under_way(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A task that is stored as started while the worker stops must be run, or given back."""
    store = SlowToStart(in_memory())  # in real time: a moved clock would wait for the store by itself
    kapusta = make_kapusta(store)
    ran: list[int] = []
    task = kapusta.register_task(lambda: ran.append(1), name="task")
    await kapusta.startup()
    await kapusta.run_until_idle()
    launch = asyncio.create_task(task.launch())
    await store.is_stored.wait()

    shutdown = asyncio.create_task(kapusta.shutdown())
    for _ in range(1000):
        await asyncio.sleep(0)  # as far as it comes
    store.gate.set()
    await shutdown
    handle = await launch

    await store.startup()
    record = await stored(store.crud, handle)
    assert record.status in (TaskStatus.success, TaskStatus.pending)
    assert ran == ([1] if record.status is TaskStatus.success else [])
    await store.shutdown()


class OneByOne(ScriptedCRUD):
    """Does each start at once, and gives its reply, or loses it, when the test says so; written by the test's loop."""

    def __init__(self, crud: BaseCRUD) -> None:
        super().__init__(crud)
        self.replies: dict[int, asyncio.Future[bool]] = {}
        self.finding = asyncio.Event()
        self.find_may_answer = asyncio.Event()
        self.find_may_answer.set()

    async def start_task(self, task: NewTask, request: ClaimRequest) -> Claims | None:
        """Store and claim; the reply comes with ``True``, and is lost with ``False``."""
        claims = await super().start_task(task, request)
        reply = self.replies[len(self.replies)] = asyncio.get_running_loop().create_future()
        if not await reply:
            raise StoreUnavailableError(operation="start_task", problem="the test has lost the reply")
        return claims

    async def find_tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        """Look, and answer when the test lets it."""
        found = await super().find_tasks(query)
        self.finding.set()
        await self.find_may_answer.wait()
        return found


@pytest.fixture
async def two(in_memory: OpenStore, make_kapusta: MakeKapusta) -> Scene:
    """A worker at rest, and two launches whose tasks are stored and whose replies are on their way."""
    store = OneByOne(in_memory())
    scene = Scene(store, make_kapusta(store), ManualClock())
    await scene.kapusta.startup()
    await scene.kapusta.run_until_idle()
    store.script.calls.clear()
    store.finding.clear()
    scene.launches = [asyncio.create_task(scene.task.launch(number=number)) for number in (1, 2)]
    await eventually(lambda: len(store.replies) == 2, "both are stored")
    return scene


async def test_a_start_on_its_way_is_not_given_back_for_another_one(two: Scene) -> None:
    """Given back, it would run a second time beside the one whose reply was only late."""
    assert isinstance(two.store, OneByOne)
    two.store.replies[0].set_result(False)
    await eventually(lambda: two.ran == [1], "the lost one is given back and claimed")
    two.store.replies[1].set_result(True)

    first, second = await asyncio.gather(*two.launches)
    await eventually(lambda: len(two.ran) == 2, "the other one runs")
    await two.kapusta.shutdown()

    assert two.ran == [1, 2]
    await two.store.startup()
    assert (await stored(two.store, second)).run == 1
    assert (await stored(two.store, first)).crashes == 0


async def test_a_reply_that_is_lost_during_a_give_back_is_not_forgotten(two: Scene) -> None:
    """Its task would stay started until its lease ends, and count a crash, though its worker lives."""
    assert isinstance(two.store, OneByOne)
    two.store.find_may_answer.clear()
    two.store.replies[0].set_result(False)
    await asyncio.wait_for(two.store.finding.wait(), 20)  # it has read which tasks are started

    two.store.replies[1].set_result(False)
    await eventually(lambda: two.store.script.asked.count("add_tasks") == 2, "both launches are repeated")
    two.store.find_may_answer.set()

    await eventually(lambda: sorted(two.ran) == [1, 2], "both are given back and run", within=20)
    await asyncio.gather(*two.launches)


async def test_a_start_that_swallows_its_cancellation_keeps_no_shutdown(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A driver that hangs for good must keep neither the shutdown nor the slot."""

    class Stubborn(ScriptedCRUD):
        async def start_task(self, task: NewTask, request: ClaimRequest) -> Claims | None:
            tried.append(task.id)
            while not let_go.is_set():
                try:
                    await let_go.wait()
                except asyncio.CancelledError:
                    continue
            return None

    let_go, tried = asyncio.Event(), list[int]()
    kapusta = make_kapusta(Stubborn(in_memory()), store_timeout=0.1, grace=0.1)
    task = kapusta.register_task(lambda: None, name="task")
    await kapusta.startup()
    await kapusta.run_until_idle()

    handle = await task.launch()
    await handle.result(timeout=20)  # by a claim, in the only slot of its mode
    assert tried == [handle]
    launch = asyncio.create_task(task.launch())
    await eventually(lambda: len(tried) == 2, "the next one is tried")
    launch.cancel()  # so that its giving up frees nothing

    await asyncio.wait_for(kapusta.shutdown(), 20)
    let_go.set()
    await eventually(lambda: len(asyncio.all_tasks()) == 1, "the driver has let go")


async def test_no_start_takes_a_slot_that_a_claim_under_way_may_fill(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A claim reserves nothing before its answer: both together could run twice as many bodies as there are slots."""

    class SlowToClaim(ScriptedCRUD):
        async def claim_tasks(self, request: ClaimRequest) -> Claims:
            claims = await super().claim_tasks(request)
            if set(request.slots) == {ASYNC}:
                claiming.set()
                await answer.wait()
            return claims

    claiming, answer, gate = asyncio.Event(), asyncio.Event(), asyncio.Event()
    store = SlowToClaim(in_memory())
    kapusta = make_kapusta(store, max_concurrent_tasks=4, max_threads=4)
    at_once: list[int] = []
    most = 0

    async def body() -> None:
        nonlocal most
        at_once.append(1)
        most = max(most, len(at_once))
        await gate.wait()
        at_once.pop()

    def in_a_thread() -> None:
        asyncio.run_coroutine_threadsafe(body(), loop).result()

    async def all_that_started_runs() -> bool:
        started = await store.crud.find_tasks(TaskQuery(statuses=frozenset({TaskStatus.started})))
        return 4 <= len(started) == len(at_once)

    loop = asyncio.get_running_loop()
    on_loop, thread = kapusta.register_task(body), kapusta.register_task(in_a_thread, "thread")
    await kapusta.startup()
    await kapusta.run_until_idle()
    await on_loop.launch_many([{}] * 40)
    await asyncio.wait_for(claiming.wait(), 20)

    launches = [asyncio.create_task(thread.launch()) for _ in range(4)]
    await eventually(lambda: all(launch.done() for launch in launches), "the launches return")
    answer.set()
    await eventually(all_that_started_runs, "the slots are full")
    gate.set()
    await kapusta.run_until_idle()

    assert most == 4


_request: contextvars.ContextVar[str] = contextvars.ContextVar("request", default="none")


async def test_a_body_does_not_see_the_context_of_its_launch(scene: Scene) -> None:
    """Else a task that starts at once would see a request's variables, and the same task claimed later would not."""
    seen: list[str] = []

    async def look() -> None:
        seen.append(_request.get())

    task = scene.kapusta.register_task(look, name="look")
    await scene.clock.settle()
    _request.set("of a customer")

    await task.launch()
    await scene.clock.settle()

    assert seen == ["none"]
