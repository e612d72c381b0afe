"""A child process lives no longer than its lease, whatever has become of its parent; and no shorter."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from kapusta import TaskStatus
from tests.processes.conftest import Site
from tests.processes.workers import Program
from tests.worker.eventually import eventually
from tests.worker.leftovers import children_of, is_alive

LEASE = 2.0

PLACES = pytest.mark.parametrize("where", ["python", "c"])


pytestmark = pytest.mark.skipif(
    not Path("/proc/self").exists(), reason="the bodies look at /proc to see who lives"
)


@PLACES
async def test_a_child_of_a_frozen_worker_ends_before_another_run_begins(site: Site, where: str) -> None:
    """SIGSTOP of the worker process alone: two bodies of one task would run at the same time, each on the whole work."""
    task = site.task("live_alone", execution_mode="process", timeout=None)
    frozen = await site.worker(task.name, lease=LEASE)
    handle = await task.launch(folder=str(site.folder), seconds=120, where=where)
    await site.noted("began")
    frozen.freeze()
    await site.worker(task.name, lease=LEASE)

    await handle.result(timeout=60)
    frozen.thaw()
    await frozen.logs(rf"Task {int(handle)}.*: its lease")

    assert beside_each_run(site) == [[], []]
    assert not site.notes("ended")
    stored = await site.stored(handle)
    assert (stored.run, stored.settled_run, stored.status) == (2, 2, TaskStatus.success)


async def test_a_child_of_a_worker_whose_interpreter_is_kept_ends_before_another_run_begins(
    site: Site,
) -> None:
    """A call of C in the worker stops its loop and its keeper alike: nobody renews, and nobody there can end the child."""
    task = site.task("live_alone", execution_mode="process", timeout=None)
    keeping = site.task("keep_the_interpreter_once", execution_mode="sync")
    stopped = await site.worker(task.name, keeping.name, lease=LEASE)
    handle = await task.launch(folder=str(site.folder), seconds=120, where="python")
    await site.noted("began")
    await keeping.launch(folder=str(site.folder), seconds=120)
    await site.noted("keeps")
    await site.worker(task.name, keeping.name, lease=LEASE)

    await handle.result(timeout=60)
    stopped.kill()
    assert await stopped.read() == ""  # nothing is left that could print

    assert beside_each_run(site) == [[], []]
    assert not site.notes("ended")


@PLACES
async def test_a_child_of_a_worker_whose_loop_is_blocked_keeps_its_lease(site: Site, where: str) -> None:
    """A `sync` body that blocks the loop for three leases is no dead worker: the run beside it, of three leases too, counts."""
    lease = 3
    task = site.task("live_alone", execution_mode="process", timeout=None)
    blocking = site.task("block", execution_mode="sync")
    await site.worker(task.name, blocking.name, lease=lease)
    handle = await task.launch(folder=str(site.folder), seconds=3 * lease, where=where)
    await site.noted("began")
    blocker = await blocking.launch(folder=str(site.folder), seconds=3 * lease)
    await site.noted("began", times=2)
    await site.worker(task.name, blocking.name, lease=lease)

    await blocker.result(timeout=60)
    await handle.result(timeout=60)

    assert beside_each_run(site) == [[]]
    for each in (handle, blocker):
        stored = await site.stored(each)
        assert (stored.run, stored.crashes) == (1, 0)


async def test_a_watchdog_that_was_killed_is_replaced(site: Site) -> None:
    """The next renewal finds out: without another one, a worker that froze later would leave its child to run on."""
    task = site.task("live_alone", execution_mode="process", timeout=None)
    frozen = await site.worker(task.name, lease=LEASE)
    handle = await task.launch(folder=str(site.folder), seconds=120, where="python")
    await site.noted("began")
    os.kill(watchdog_of(frozen), signal.SIGKILL)
    await frozen.logs("The watchdog process was replaced")
    frozen.freeze()
    await site.worker(task.name, lease=LEASE)

    await handle.result(timeout=60)

    assert beside_each_run(site) == [[], []]


async def test_a_worker_that_shuts_down_leaves_no_watchdog(site: Site) -> None:
    """Each restart would leave a process behind that has nothing to do."""
    task = site.task("live_alone", execution_mode="process", timeout=None)
    worker = await site.worker(task.name)
    handle = await task.launch(folder=str(site.folder), seconds=1, where="python")
    await handle.result(timeout=60)
    watchdog = watchdog_of(worker)

    await worker.stop()

    assert not is_alive(watchdog)


async def test_a_worker_that_is_killed_leaves_no_watchdog(site: Site) -> None:
    """Likewise each crash."""
    task = site.task("live_alone", execution_mode="process", timeout=None)
    worker = await site.worker(task.name)
    await task.launch(folder=str(site.folder), seconds=120, where="python")
    await site.noted("began")
    watchdog = watchdog_of(worker)

    worker.kill()

    assert await worker.read() == ""  # nothing is left that could print
    await eventually(lambda: not is_alive(watchdog), "it is gone")


def beside_each_run(site: Site) -> list[list[str]]:
    """For each run, in the order of their beginnings, what still lived of earlier ones."""
    return [words[2:] for words in site.notes("beside")]


def watchdog_of(worker: Program) -> int:
    """The one watchdog process of a worker."""
    (pid,) = {pid for pid in children_of(worker.pid) if is_alive(pid) and b"_watchdog" in command_of(pid)}
    return pid


def command_of(pid: int) -> bytes:
    """How a process was started."""
    return Path(f"/proc/{pid}/cmdline").read_bytes()
