"""Workers without an application around them: they run, are started again, and end when they should."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Protocol

import pytest

from kapusta import Kapusta, TaskStatus
from tests.processes.conftest import Site
from tests.processes.fleet import Fleet
from tests.worker.eventually import eventually

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class StartFleet(Protocol):
    """Starts a fleet on the site's store, with these bodies and their modes."""

    async def __call__(self, tasks: Mapping[str, str], **options: Any) -> Fleet:
        """Return when its processes have been started, which need not work yet."""


@pytest.fixture
async def start(site: Site, tmp_path: Path) -> AsyncIterator[StartFleet]:
    """Starts fleets of which nothing is left when the test is over."""
    started: list[Fleet] = []

    async def start_fleet(tasks: Mapping[str, str], **options: Any) -> Fleet:
        started.append(await Fleet.start(tmp_path, options.pop("url", site.url), tasks, **options))
        return started[-1]

    yield start_fleet
    for fleet in started:
        await fleet.stop()


async def test_workers_run_tasks_without_an_application(site: Site, start: StartFleet) -> None:
    """What another process launches is run by the fleet, in as many processes as it was told to have."""
    fleet = await start({"stamp": "async_"}, processes=2)
    workers = await fleet.working(2)
    stamp = site.task("stamp")
    handles = [await stamp.launch(folder=str(site.folder)) for _ in range(20)]
    for handle in handles:
        await handle.result(timeout=30)

    assert {int(pid) for pid, _, _ in site.notes("stamped")} <= set(workers)


async def test_the_first_lines_say_what_runs_where(site: Site, start: StartFleet) -> None:
    """The command names the Kapusta and the number of processes, and each process its store and its tasks."""
    fleet = await start({"stamp": "async_", "block": "thread"}, processes=2)
    await fleet.working(2)

    first, *others = [line.partition(" INFO kapusta: ")[2] for line in fleet.log.splitlines()]
    kapusta = f"<Kapusta on <AlchemyCRUD {site.url}>, 2 tasks: stamp, block>"
    assert first == "Starting crew:kapusta in 2 processes; SIGTERM or Ctrl-C lets running tasks finish."
    assert others == [f"Working for crew:kapusta: {kapusta}"] * 2


@pytest.mark.parametrize("number", SIGNALS)
async def test_a_signal_lets_running_tasks_finish(
    site: Site, start: StartFleet, number: signal.Signals
) -> None:
    """SIGTERM or SIGINT: a running task ends as it would have, nothing new begins, the exit code is 0."""
    fleet = await start({"wait_once": "async_", "stamp": "async_"}, processes=2)
    await fleet.working(2)
    handle = await site.task("wait_once").launch(folder=str(site.folder), seconds=1.5)
    await eventually(lambda: site.notes("began"), "it has begun")
    fleet.look()
    fleet.signal(number)
    await fleet.logs("letting running tasks finish", times=2)
    late = await site.task("stamp").launch(folder=str(site.folder))

    assert await fleet.ended() == 0
    await fleet.nothing_left()
    assert (await site.stored(handle)).status is TaskStatus.success
    assert (await site.stored(late)).status is TaskStatus.pending


async def test_what_outlasts_the_grace_is_given_back(site: Site, start: StartFleet) -> None:
    """A task that does not end within the grace is stopped and waits again, at no cost; the exit code is 0."""
    fleet = await start({"wait_once": "async_"}, processes=1, grace=0.5)
    handle = await site.task("wait_once").launch(folder=str(site.folder), seconds=600)
    await eventually(lambda: site.notes("began"), "it has begun")
    fleet.look()
    fleet.signal(signal.SIGTERM)

    assert await fleet.ended() == 0
    stored = await site.stored(handle)
    assert (stored.status, stored.crashes, stored.interruptions) == (TaskStatus.pending, 0, 1)


@pytest.mark.parametrize("number", SIGNALS)
async def test_the_second_signal_stops_at_once(site: Site, start: StartFleet, number: signal.Signals) -> None:
    """The second one waits for nobody, not for a body that blocks a loop nor for a child; none of them is left."""
    fleet = await start({"block": "sync", "start_a_child_and_sleep": "process"}, processes=2, grace=600)
    await fleet.working(2)
    await site.task("start_a_child_and_sleep", execution_mode="process").launch(folder=str(site.folder))
    await eventually(lambda: site.notes("sleeps"), "the one has begun")
    await site.task("block").launch(folder=str(site.folder), seconds=600)
    await eventually(lambda: site.notes("began"), "the other has begun")
    fleet.look()
    fleet.signal(number)
    await fleet.logs("letting running tasks finish")
    began = time.monotonic()
    fleet.signal(number)

    assert await fleet.ended() == 128 + number
    assert time.monotonic() - began < 5
    await fleet.nothing_left()


async def test_a_worker_that_dies_is_started_again(site: Site, start: StartFleet) -> None:
    """`kill -9` of a worker, again and again: another one takes its place, later each time, and works."""
    fleet = await start({"stamp": "async_"}, processes=1)
    victims = []
    for _ in range(2):
        victims += await fleet.working(1)
        os.kill(victims[-1], signal.SIGKILL)
        await fleet.logs("was ended by signal 9, SIGKILL", times=len(victims))
    handle = await site.task("stamp").launch(folder=str(site.folder))
    await handle.result(timeout=30)

    pauses = re.findall(r"the next one starts in (\S+) s", fleet.log)
    assert len(set(victims)) == 2
    assert pauses == ["0.5", "1"]
    assert int(site.notes("stamped")[0][0]) not in victims


async def test_the_death_of_one_worker_disturbs_no_other(site: Site, start: StartFleet) -> None:
    """While one is started again, what runs in another goes on, and ends there."""
    fleet = await start({"wait_once": "async_"}, processes=2)
    workers = await fleet.working(2)
    handle = await site.task("wait_once").launch(folder=str(site.folder), seconds=2)
    await eventually(lambda: site.notes("began"), "it has begun")
    busy = int(site.notes("began")[0][0])
    (idle,) = set(workers) - {busy}
    os.kill(idle, signal.SIGKILL)
    survivors = await fleet.working(2)

    assert busy in survivors
    assert await handle.result(timeout=30) == busy


async def test_a_task_that_kills_its_worker_does_not_kill_all_of_them_for_ever(
    site: Site, start: StartFleet
) -> None:
    """After three deaths it is held, with the reason; the workers are back, and do the next task."""
    fleet = await start({"kill_the_worker": "sync", "append": "async_"}, processes=3, lease=1)
    await fleet.working(3)
    deadly = await site.task("kill_the_worker").launch(folder=str(site.folder))

    async def is_held() -> bool:
        return await deadly.status() is TaskStatus.held

    await eventually(is_held, "it is held", within=60)

    assert len(site.notes("began")) == 3
    assert "crash 3 in a row, max_crashes=3" in ((await site.stored(deadly)).reason or "")
    await fleet.working(3)
    await (await site.task("append").launch(folder=str(site.folder), number=7)).result(timeout=20)


async def test_when_the_leader_is_killed_its_workers_end(site: Site, start: StartFleet) -> None:
    """`kill -9` of the leader: what ends within the grace is a success, the rest waits again, no process is left."""
    fleet = await start({"wait_once": "async_", "start_a_child_and_sleep": "process"}, processes=2, grace=3)
    await fleet.working(2)
    short = await site.task("wait_once").launch(folder=str(site.folder), seconds=1)
    long = await site.task("start_a_child_and_sleep", execution_mode="process").launch(
        folder=str(site.folder)
    )
    await eventually(lambda: site.notes("began") and site.notes("sleeps"), "both have begun")
    fleet.look()
    fleet.signal(signal.SIGKILL)
    await short.result(timeout=30)
    await fleet.nothing_left()

    stored = await site.stored(long)
    assert (stored.status, stored.crashes, stored.interruptions) == (TaskStatus.pending, 0, 1)
    assert fleet.log.count("The leading process is gone") == 2


async def test_a_store_that_cannot_be_opened_is_tried_again(
    site: Site, start: StartFleet, tmp_path: Path
) -> None:
    """Workers whose store is not there are started again, ever later, each with one line; once it is there, they work."""
    folder = tmp_path / "later"
    fleet = await start({"stamp": "async_"}, processes=1, url=f"sqlite+aiosqlite:///{folder}/tasks.db")
    await fleet.logs(r"the next one starts in 1 s")
    folder.mkdir()
    await fleet.working(1)

    assert re.findall(r"ended with exit code (\d+); the next one starts in (\S+) s", fleet.log)[:2] == [
        ("75", "0.5"),
        ("75", "1"),
    ]
    assert "Traceback" not in fleet.log
    assert str(folder) in fleet.log


async def test_a_kapusta_in_an_application_installs_no_signal_handler(tmp_path: Path) -> None:
    """Signals belong to the application: after `startup()`, and after `shutdown()`, their handlers are what they were."""
    numbers = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    before = {number: signal.getsignal(number) for number in numbers}
    kapusta = Kapusta(f"sqlite+aiosqlite:///{tmp_path}/tasks.db")
    async with kapusta:
        during = {number: signal.getsignal(number) for number in numbers}
    after = {number: signal.getsignal(number) for number in numbers}

    assert before == during == after
