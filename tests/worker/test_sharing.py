"""How many bodies run at once, and who runs them when there are two."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter

from kapusta import TaskStatus
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.stored import stored


class Crowd:
    """Counts who is inside, from any thread."""

    def __init__(self) -> None:
        self._lock, self._inside, self.most, self.entered = threading.Lock(), 0, 0, 0

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            self.entered += 1
            self.most = max(self.most, self._inside)

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1


async def test_no_more_bodies_run_at_once_than_were_allowed(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """`max_concurrent_tasks` counts bodies of all modes together, and every slot is used."""
    kapusta = make_kapusta(open_store(), max_concurrent_tasks=3, max_threads=2)
    all_of_them, threads = Crowd(), Crowd()

    @kapusta.task()
    async def on_the_loop() -> None:
        with all_of_them:
            await asyncio.sleep(0.01)

    @kapusta.task(execution_mode="thread")
    def in_a_thread() -> None:
        with all_of_them, threads:
            time.sleep(0.01)

    @kapusta.task()
    def in_place() -> None:
        with all_of_them:
            time.sleep(0.001)

    await kapusta.startup()
    handles = [
        handle
        for task in (on_the_loop, in_a_thread, in_place)
        for handle in await task.launch_many({} for _ in range(12))
    ]
    for handle in handles:
        await handle.result(timeout=20)

    assert all_of_them.entered == 36
    assert 2 <= all_of_them.most <= 3
    assert threads.most <= 2


async def test_two_kapustas_on_one_store_share_the_work(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """Each task runs once, whoever launched it, and both take part."""
    kapustas = [make_kapusta(open_store(), max_concurrent_tasks=3) for _ in range(2)]
    bodies: Counter[int] = Counter()

    async def work(number: int) -> None:
        bodies[number] += 1
        await asyncio.sleep(0.01)

    tasks = [kapusta.register_task(work, name="work") for kapusta in kapustas]
    for kapusta in kapustas:
        await kapusta.startup()
    handles = [await tasks[number % 2].launch(number) for number in range(60)]
    for handle in handles:
        await handle.result(timeout=20)

    records = [await stored(kapustas[0], handle) for handle in handles]
    assert bodies == dict.fromkeys(range(60), 1)
    assert {record.status for record in records} == {TaskStatus.success}
    assert len({record.worker for record in records}) == 2


async def test_a_launch_wakes_the_other_kapusta_of_the_process(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """One that only launches does not have to wait for the next tick of the one that runs."""
    launcher, runner = make_kapusta(open_store()), make_kapusta(open_store(), max_tick_interval=300)
    task = launcher.register_task(lambda: "ran", name="task")
    runner.register_task(lambda: "ran", name="task")
    await launcher.crud.startup()
    await runner.startup()
    await asyncio.sleep(0.05)  # so that the runner is idle

    assert await (await task.launch()).result(timeout=5) == "ran"
