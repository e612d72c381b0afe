"""A store that errs before, errs after, delays and hangs: nothing is lost, nothing counts twice."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

import pytest

from kapusta import Kapusta, LaunchUnknownError, Task, TaskHandle, TaskStatus
from kapusta.backend import FINAL, BaseCRUD, Clock, StoredTask, SystemClock, TaskQuery
from kapusta.testing import FaultKind, FaultyCRUD, ManualClock
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.eventually import eventually
from tests.worker.scripted import Script, ScriptedCRUD


class Bodies:
    """Tasks of three modes, of which every fifth fails at first, and how often each body has begun."""

    def __init__(self, kapusta: Kapusta, clock: Clock, *, longest: float) -> None:
        self.begun: Counter[int] = Counter()

        @kapusta.task()
        async def on_the_loop(number: int) -> int:
            begun = self._begin(number)
            await clock.sleep(longest * (number % 7) / 7)
            return begun

        @kapusta.task(execution_mode="thread")
        def in_a_thread(number: int) -> int:
            return self._begin(number)

        @kapusta.task()
        def in_place(number: int) -> int:
            return self._begin(number)

        self.tasks: Sequence[Task[[int], int]] = [*[on_the_loop] * 8, *[in_a_thread] * 7, in_place]

    def _begin(self, number: int) -> int:
        self.begun[number] += 1
        if number % 5 == 0 and self.begun[number] == 1:
            raise RuntimeError("the first attempt fails")
        return number


@pytest.mark.parametrize("seed", [1, 22, 333])
async def test_every_task_ends_once_whatever_the_store_does(
    seed: int, open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """200 tasks through a Kapusta on FaultyCRUD: every task ends, and each id has one accepted outcome.

    Before, after, delay and hang, each fired at least ten times; bodies per task are at most
    1 + crashes + failures. In memory and on SQLite, with three printed seeds, by a clock that is moved.
    """
    clock = ManualClock()
    script = Script()
    faulty = FaultyCRUD(ScriptedCRUD(open_store(clock), script), seed=seed, rate=0.3, longest_delay=20)
    kapusta = make_kapusta(faulty, default_max_retry_attempts=3, default_max_crashes=None)
    bodies = Bodies(kapusta, clock, longest=40)

    async def move() -> None:
        await clock.advance(seconds=5)

    handles, ended = await drained(kapusta, bodies, open_store(clock), move)

    print(f"seed {seed}: {clock.monotonic():.0f} s passed; {faulty.fired}")
    check(handles, ended, bodies, script)
    assert all(faulty.fired[kind] >= 10 for kind in FaultKind), faulty.fired


async def test_every_task_ends_once_with_the_leases_kept_by_a_thread(
    on_sqlite: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """In real time, with short leases that a thread keeps on a faulty handle of its own, the same holds."""
    script = Script()
    faulty = FaultyCRUD(ScriptedCRUD(on_sqlite(), script), seed=4444, rate=0.2, longest_delay=0.1)
    kapusta = make_kapusta(
        faulty, lease=0.9, store_timeout=0.2, default_max_retry_attempts=3, default_max_crashes=None
    )
    bodies = Bodies(kapusta, SystemClock(), longest=0.5)

    async def move() -> None:
        await asyncio.sleep(0)

    handles, ended = await drained(kapusta, bodies, on_sqlite(), move, tasks=60)

    check(handles, ended, bodies, script)


async def drained(
    kapusta: Kapusta,
    bodies: Bodies,
    observer: BaseCRUD,
    move: Callable[[], Awaitable[None]],
    *,
    tasks: int = 200,
) -> tuple[list[TaskHandle[int]], Sequence[StoredTask]]:
    """Launch tasks and *move* time until none is left that has not ended, as a handle without faults sees it."""

    async def look() -> Sequence[StoredTask]:
        await move()
        found = await observer.find_tasks(TaskQuery(limit=tasks + 1))
        return found if len(found) >= tasks and all(task.status in FINAL for task in found) else []

    await kapusta.startup()
    await observer.startup()
    try:
        launching = asyncio.gather(*(launched(bodies.tasks, number) for number in range(tasks)))
        ended = await eventually(look, "every task has ended", within=60)
        while not launching.done():
            await move()
        handles = await launching
        closing = asyncio.create_task(kapusta.shutdown())
        while not closing.done():
            await move()  # a store that hangs needs time to be given up
        await closing
    finally:
        await observer.shutdown()
    return handles, ended


async def launched(tasks: Sequence[Task[[int], int]], number: int) -> TaskHandle[int]:
    """A launch, repeated until its reply has come."""
    try:
        return await tasks[number % len(tasks)].launch(number)
    except LaunchUnknownError as problem:
        unknown = problem
    while True:
        try:
            handle = await unknown.launch_again()
        except LaunchUnknownError as problem:
            unknown = problem
        else:
            return handle  # type: ignore[no-any-return]  # a repeated launch answers as the first would have


def check(
    handles: Sequence[TaskHandle[int]], ended: Sequence[StoredTask], bodies: Bodies, script: Script
) -> None:
    """Nothing was lost, nothing was doubled, and no body began without a reason that is written down."""
    accepted = script.accepted()
    outcomes = Counter(change.id for change in accepted if change.status in FINAL)
    failures = Counter(change.id for change in accepted if change.failures)
    crashes = Counter(change.id for change in accepted if change.crashes)
    too_often = {
        number: (bodies.begun[number], failures[handle], crashes[handle])
        for number, handle in enumerate(handles)
        if not 1 <= bodies.begun[number] <= 1 + crashes[handle] + failures[handle]
    }

    assert {task.id for task in ended} == set(map(int, handles))
    assert {task.status for task in ended} == {TaskStatus.success}
    assert outcomes == dict.fromkeys(map(int, handles), 1)
    assert too_often == {}
