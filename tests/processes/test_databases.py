"""Four workers of the command line on one database: they share the work, and one that dies or sleeps costs none."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from tests.processes.conftest import Site
from tests.processes.fleet import Fleet
from tests.worker.eventually import eventually

TASKS = 2000
LEASE = 2.0
DATABASES = ("postgres_url", "mysql_url")


class Base:
    """A site on a database, and a fleet of four on it."""

    def __init__(self, site: Site) -> None:
        self.site = site
        self.fleets: list[Fleet] = []

    async def start(self, tasks: Mapping[str, str], *, lease: float) -> tuple[Fleet, list[int]]:
        """Four workers, and their processes, once all of them work."""
        fleet = await Fleet.start(self.site.folder, self.site.url, tasks, processes=4, lease=lease)
        self.fleets.append(fleet)
        return fleet, await fleet.working(4)


@pytest.fixture(params=DATABASES)
async def base(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Base]:
    """An empty database; whoever worked on it is gone when the test is over."""
    base = Base(Site(tmp_path, request.getfixturevalue(request.param)))
    await base.site.kapusta.crud.startup()
    yield base
    for fleet in base.fleets:
        await fleet.stop()
    await base.site.close()


async def test_four_processes_drain_two_thousand_tasks_each_once(base: Base) -> None:
    """Four processes drain 2,000 tasks: 2,000 lines, all of different tasks, and more than one process took part."""
    site = base.site
    fleet, _ = await base.start({"append": "async_"}, lease=30)
    append = site.task("append")

    began = time.monotonic()
    for first in range(0, TASKS, 200):
        await append.launch_many(
            {"folder": str(site.folder), "number": number} for number in range(first, first + 200)
        )
    try:
        await eventually(lambda: len(site.notes("did")) >= TASKS, "every task has run", within=60)
    except AssertionError as problem:
        problem.add_note(f"{len(site.notes('did'))} have; what was logged last:\n{fleet.log[-8000:]}")
        raise
    print(f"{TASKS} tasks in {time.monotonic() - began:.1f} s")
    fleet.look()
    fleet.signal(signal.SIGTERM)

    assert await fleet.ended() == 0
    done = site.notes("did")
    assert sorted(int(number) for _, _, number in done) == list(range(TASKS))
    assert len({pid for pid, _, _ in done}) > 1


async def test_a_task_of_a_killed_process_runs_again_within_two_leases(base: Base) -> None:
    """`kill -9` of one of the four mid-task: another one runs the task again within two leases."""
    site = base.site
    await base.start({"wait_once": "async_"}, lease=LEASE)
    handle = await site.task("wait_once").launch(folder=str(site.folder), seconds=600)
    await eventually(lambda: site.notes("began"), "the victim has begun")
    victim = int(site.notes("began")[0][0])

    os.kill(victim, signal.SIGKILL)
    killed_at = time.monotonic()
    await eventually(lambda: len(site.notes("began")) == 2, "another process has begun")
    took = time.monotonic() - killed_at
    rescuer = await handle.result(timeout=20)

    print(f"began again {took:.2f} s after the kill")
    stored = await site.stored(handle)
    assert took <= 2 * LEASE
    assert rescuer != victim
    assert (stored.run, stored.failures) == (2, 0)


async def test_the_answer_of_a_process_that_slept_past_its_lease_is_refused(base: Base) -> None:
    """SIGSTOP past the lease, then SIGCONT: the sleeper's own answer is refused, and the other's stays."""
    site = base.site
    fleet, _ = await base.start({"block": "sync"}, lease=LEASE)
    handle = await site.task("block").launch(folder=str(site.folder), seconds=1)
    await eventually(lambda: site.notes("began"), "the sleeper has begun")
    sleeper = int(site.notes("began")[0][0])
    os.kill(sleeper, signal.SIGSTOP)
    try:
        outcome = await handle.result(timeout=30)
    finally:
        os.kill(sleeper, signal.SIGCONT)
    await fleet.logs(rf"{sleeper} WARNING kapusta: .*'block' ended as '\w+', but its claim was lost: refused")

    assert outcome != sleeper
    assert await handle.result() == outcome
    assert (await site.stored(handle)).run == 2
