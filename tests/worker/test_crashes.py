"""Ends that nobody asked for: counted apart from failures, and followed by what `on_crash` says."""

from __future__ import annotations

from pathlib import Path

import pytest

from kapusta import Kapusta, TaskFailedError, TaskStatus
from kapusta.testing import ManualClock
from tests.worker import bodies
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.scripted import ScriptedCRUD
from tests.worker.stored import claimed_by_the_dead, stored


async def work() -> str:
    """What a healthy worker makes of the task."""
    return "done"


class Scene:
    """A task, a handle to claim it by, and a worker that knows the task or does not."""

    def __init__(self, make_kapusta: MakeKapusta, open_store: OpenStore, clock: ManualClock) -> None:
        self.crud = open_store(clock)
        self.launcher: Kapusta = make_kapusta(self.crud)
        self.worker: Kapusta = make_kapusta(open_store(clock))
        self.task = self.launcher.register_task(work, name="work")


@pytest.fixture
def clock() -> ManualClock:
    """Time to be moved."""
    return ManualClock()


@pytest.fixture
async def scene(open_store: OpenStore, make_kapusta: MakeKapusta, clock: ManualClock) -> Scene:
    """On each kind of store, started for launching."""
    scene = Scene(make_kapusta, open_store, clock)
    await scene.crud.startup()
    return scene


async def test_a_task_whose_worker_died_is_run_again(scene: Scene, clock: ManualClock) -> None:
    """By any worker, within two leases; it counts as a crash, not as a failure, and a success clears the count."""
    scene.worker.register_task(work, name="work")
    handle = await scene.task.launch()
    await claimed_by_the_dead(scene.crud, "work")
    await scene.worker.startup()
    await clock.advance(seconds=39)
    before = await stored(scene.crud, handle)
    await clock.advance(seconds=21)

    task = await stored(scene.crud, handle)
    assert (before.status, before.run) == (TaskStatus.started, 1)
    assert (task.status, task.run, task.failures) == (TaskStatus.success, 2, 0)


async def test_a_dead_workers_task_waits_for_a_living_one(scene: Scene, clock: ManualClock) -> None:
    """While nobody works nobody notices, not for a day; who comes then first gives the store a whole lease to be reached."""
    scene.worker.register_task(work, name="work")
    handle = await scene.task.launch()
    await claimed_by_the_dead(scene.crud, "work")
    await clock.advance(days=1)
    alone = await stored(scene.crud, handle)
    await scene.worker.startup()
    await clock.advance(seconds=29)
    early = await stored(scene.crud, handle)
    await clock.advance(seconds=31)

    task = await stored(scene.crud, handle)
    assert (alone.status, alone.run) == (early.status, early.run) == (TaskStatus.started, 1)
    assert (task.status, task.run) == (TaskStatus.success, 2)


async def test_a_task_that_must_not_run_twice_is_held(scene: Scene, clock: ManualClock) -> None:
    """With on_crash="hold" no crash ever starts it again; the reason says what a person has to find out."""
    scene.worker.register_task(work, name="work")
    handle = await scene.task.with_options(on_crash="hold").launch()
    await claimed_by_the_dead(scene.crud, "work")
    await scene.worker.startup()
    await clock.advance(minutes=10)

    task = await stored(scene.crud, handle)
    assert (task.status, task.run, task.crashes) == (TaskStatus.held, 1, 1)
    assert "on_crash='hold'" in (task.reason or "")
    with pytest.raises(TaskFailedError) as failed:
        await handle.result(timeout=0)
    assert failed.value.status is TaskStatus.held


async def test_a_task_that_kills_its_workers_is_held(scene: Scene, clock: ManualClock) -> None:
    """After `max_crashes` crashes in a row it is held: a poisoned task must not take every worker down."""
    handle = await scene.task.with_options(max_crashes=2).launch()
    await scene.worker.startup()  # it does not know the task, and looks after it all the same
    await claimed_by_the_dead(scene.crud, "work")
    await clock.advance(minutes=2)
    once = await stored(scene.crud, handle)
    await claimed_by_the_dead(scene.crud, "work")
    await clock.advance(minutes=2)

    task = await stored(scene.crud, handle)
    assert (once.status, once.crashes) == (TaskStatus.pending, 1)
    assert (task.status, task.crashes) == (TaskStatus.held, 2)
    assert "max_crashes=2" in (task.reason or "")


async def test_a_held_task_accepts_the_answer_of_the_run_that_seemed_lost(
    open_store: OpenStore, make_kapusta: MakeKapusta, clock: ManualClock
) -> None:
    """A worker that was cut off while it settled delivers when the store is back, and the task is not held any more."""
    store = ScriptedCRUD(open_store(clock))
    cut_off = make_kapusta(store, default_on_crash="hold")
    other = make_kapusta(open_store(clock))

    @cut_off.task(timeout=None)
    async def slow() -> str:
        await clock.sleep(5)
        return "done, and only once"

    await other.startup()
    await cut_off.startup()
    handle = await slow.launch()
    await clock.advance(seconds=1)
    store.script.down = {"*"}
    await clock.advance(minutes=5)
    held = await stored(other, handle)
    store.script.down = set()
    await clock.advance(minutes=1)

    task = await stored(other, handle)
    assert (held.status, held.run) == (TaskStatus.held, 1)
    assert (task.status, task.run, task.result) == (TaskStatus.success, 1, b'"done, and only once"')


async def test_a_held_task_that_was_cancelled_does_not(
    in_memory: OpenStore, make_kapusta: MakeKapusta, clock: ManualClock
) -> None:
    """Once a person has decided, the late answer is refused."""
    store = ScriptedCRUD(in_memory(clock))
    cut_off = make_kapusta(store, default_on_crash="hold")
    other = make_kapusta(in_memory(clock))

    @cut_off.task(timeout=None)
    async def slow() -> str:
        await clock.sleep(5)
        return "too late"

    await other.startup()
    await cut_off.startup()
    handle = await slow.launch()
    await clock.advance(seconds=1)
    store.script.down = {"*"}
    await clock.advance(minutes=5)
    cancelled = await other.handle(handle).cancel()
    store.script.down = set()
    await clock.advance(minutes=1)

    assert cancelled
    assert (await stored(other, handle)).status is TaskStatus.cancelled
    assert [change.status for change in store.script.refused()] == [TaskStatus.success]


async def test_a_child_that_is_killed_under_its_task_is_a_crash(
    in_memory: OpenStore, make_kapusta: MakeKapusta, tmp_path: Path
) -> None:
    """It is run again, `max_crashes` times in all, then held; the reason names the signal."""
    kapusta = make_kapusta(in_memory())
    die = kapusta.register_task(bodies.die, "process", max_crashes=2)
    await kapusta.startup()

    handle = await die.launch(str(tmp_path / "lines"))
    with pytest.raises(TaskFailedError, match="SIGKILL") as failed:
        await handle.result(timeout=20)

    task = await stored(kapusta, handle)
    assert failed.value.status is TaskStatus.held
    assert (task.run, task.crashes, task.failures) == (2, 2, 0)
    assert (tmp_path / "lines").read_text().splitlines() == ["begun"] * 2
