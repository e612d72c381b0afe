"""What cannot be run is parked with the reason, and blocks nobody."""

from __future__ import annotations

import pytest

from kapusta import TaskStatus
from kapusta.backend import TaskExecutionMode
from kapusta.testing import ManualClock
from tests.sqlalchemy.records import new
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.stored import claimed_by_the_dead, stored


async def test_a_name_that_no_worker_knows_waits_and_blocks_nothing(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """300 tasks of another version's stay `pending`, unclaimed, while those behind them run; then their worker comes."""
    clock = ManualClock()
    old, new = make_kapusta(open_store(clock)), make_kapusta(open_store(clock))
    known = old.register_task(lambda: "ran", name="known")
    unknown = new.register_task(lambda: "ran too", name="unknown")
    await new.crud.startup()
    waiting = await unknown.launch_many({} for _ in range(300))
    await old.startup()

    handle = await known.launch()
    await clock.advance(minutes=10)
    ran = await handle.result(timeout=0)
    before = await stored(old, waiting[0])
    await new.startup()
    await clock.advance(seconds=30)

    assert ran == "ran"
    assert (before.status, before.run, before.crashes) == (TaskStatus.pending, 0, 0)
    assert {await each.status() for each in waiting[::50]} == {TaskStatus.success}


async def test_a_payload_that_cannot_be_read_comes_back_and_is_then_held(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A worker that cannot read the arguments puts the task off by a minute, for another version of it; in the end it is held."""
    clock = ManualClock()
    old, new = make_kapusta(open_store(clock)), make_kapusta(open_store(clock))
    ran = []

    @old.task(name="task")
    async def by_name(who: str) -> None:
        """As it was launched."""

    @new.task(name="task")
    async def by_number(number: int) -> None:
        ran.append(number)

    await old.crud.startup()
    handle = await by_name.launch("seven")
    await new.startup()
    await clock.advance(seconds=30)
    once = await stored(new, handle)
    await clock.advance(minutes=10)

    task = await stored(new, handle)
    assert ran == []
    assert by_number.name == "task"
    assert (once.status, once.crashes) == (TaskStatus.pending, 1)
    assert (task.status, task.crashes, task.failures) == (TaskStatus.held, 3, 0)
    assert "cannot be read here" in (task.reason or "")


async def test_a_payload_that_one_worker_cannot_read_is_run_by_one_that_can(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """In a rolling deploy the old code meets the new call first: it costs a minute, not the task."""
    clock = ManualClock()
    old, new = make_kapusta(in_memory(clock)), make_kapusta(in_memory(clock))
    ran = []

    @old.task(name="task")
    async def before() -> None:
        """It took nothing."""

    @new.task(name="task")
    async def after(number: int) -> None:
        ran.append(number)

    await old.startup()
    await new.crud.startup()
    handle = await after.launch(7)
    await clock.advance(seconds=5)
    await old.shutdown()
    await new.startup()
    await clock.advance(minutes=2)

    assert before.name == "task"
    assert ran == [7]
    assert await handle.status() is TaskStatus.success


@pytest.mark.parametrize(("waited", "status"), [(45, TaskStatus.pending), (600, TaskStatus.held)])
async def test_what_nobody_could_read_is_run_at_once_when_it_is_retried_by_hand(
    open_store: OpenStore, make_kapusta: MakeKapusta, waited: float, status: TaskStatus
) -> None:
    """Put off for a minute, or held in the end: a person who has mended the worker does not wait for it."""
    clock = ManualClock()
    old, new = make_kapusta(open_store(clock)), make_kapusta(open_store(clock))

    @old.task(name="task")
    async def before() -> None:
        """It took nothing."""

    @new.task(name="task")
    async def after(number: int) -> int:
        return number

    await old.startup()
    await new.crud.startup()
    handle = await after.launch(7)
    await clock.advance(seconds=waited)
    parked = await stored(new, handle)
    await old.shutdown()
    await new.startup()

    assert await handle.retry()
    await clock.advance(seconds=1)

    assert before.name == "task"
    assert parked.status is status
    assert parked.crashes > 0
    assert await handle.result(timeout=0) == 7


@pytest.mark.parametrize("damage", [b"", b"\xff\x00", b'{"on_crash": "postpone"}', b"[]"])
async def test_options_that_cannot_be_read_harm_no_neighbour_and_start_nothing(
    open_store: OpenStore, make_kapusta: MakeKapusta, damage: bytes
) -> None:
    """Nobody knows then whether the task may run twice: it is put off, for a worker that can read them, and held in the end."""
    clock = ManualClock()
    kapusta = make_kapusta(open_store(clock))
    ran = []
    task = kapusta.register_task(lambda: ran.append(1), name="task", on_crash="hold")
    await kapusta.crud.startup()
    await task.launch_many([{}, {}])
    damaged = new(name="task", mode=TaskExecutionMode.sync, options=damage)
    await kapusta.crud.add_tasks([damaged])
    await task.launch_many([{}, {}])

    await kapusta.startup()
    await clock.advance(minutes=10)

    assert len(ran) == 4
    record = await stored(kapusta, damaged.id)
    assert (record.status, record.crashes, record.run) == (TaskStatus.held, 3, 3)
    assert "the options stored with them" in (record.reason or "")


async def test_a_lost_task_whose_options_cannot_be_read_is_held(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """It may have said `hold`: so it is for a person to look at."""
    clock = ManualClock()
    kapusta = make_kapusta(in_memory(clock))
    kapusta.register_task(lambda: None, name="task")
    await kapusta.crud.startup()
    damaged = new(name="task", mode=TaskExecutionMode.sync, options=b"?")
    await kapusta.crud.add_tasks([damaged])
    await claimed_by_the_dead(kapusta.crud, "task")

    await kapusta.startup()
    await clock.advance(minutes=2)

    assert (await stored(kapusta, damaged.id)).status is TaskStatus.held


async def test_a_mode_that_does_not_fit_the_function_here_is_unreadable(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A task that was launched as a plain function and has become `async def` is put off, not run in the wrong place."""
    clock = ManualClock()
    old, new = make_kapusta(in_memory(clock)), make_kapusta(in_memory(clock))
    task = old.register_task(lambda: None, "thread", name="task")

    async def now() -> None:
        """What it is here."""

    new.register_task(now, name="task")
    await old.crud.startup()
    handle = await task.launch()
    await new.startup()
    await clock.advance(seconds=5)

    record = await stored(new, handle)
    assert (record.status, record.crashes) == (TaskStatus.pending, 1)
    assert "launched in mode 'thread'" in (record.reason or "")
