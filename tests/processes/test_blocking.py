"""A body that blocks the event loop, or a thread, costs no lease; one that stops the whole interpreter does."""

from __future__ import annotations

from tests.processes.conftest import Site


async def test_a_task_that_blocks_its_process_for_longer_than_its_lease_runs_once(site: Site) -> None:
    """A 10-second blocking `sync` task with a 3-second lease, another worker present, runs once."""
    blocker = await site.worker("block", lease=3)
    await site.worker("block", lease=3)
    handle = await site.task("block").launch(folder=str(site.folder), seconds=10)

    await handle.result(timeout=30)

    stored = await site.stored(handle)
    assert len(site.notes("began")) == len(site.notes("ended")) == 1
    assert (stored.run, stored.crashes) == (1, 0)
    assert blocker.pid > 0


async def test_a_long_call_of_c_in_a_thread_runs_once(site: Site) -> None:
    """A `thread` task that spends three leases in one call which releases the interpreter's lock keeps its lease."""
    task = site.task("compute_without_the_lock", execution_mode="thread")
    await site.worker(task.name, lease=1)
    await site.worker(task.name, lease=1)
    handle = await task.launch(folder=str(site.folder), seconds=3.5)

    await handle.result(timeout=60)

    assert len(site.notes("began")) == 1
    assert (await site.stored(handle)).run == 1


async def test_a_call_that_keeps_the_interpreter_for_itself_loses_its_lease(site: Site) -> None:
    """No thread can renew then: another worker takes the task, the log names it, and the answer that comes late is not taken."""
    task = site.task("compute_with_the_lock_once", execution_mode="thread")
    first = await site.worker(task.name, lease=1)
    # Long enough for the other one to start, to have the store within reach for a lease, and to look twice: were the
    # task still nobody else's when this ends, the late answer would count.
    handle = await task.launch(folder=str(site.folder), seconds=10)
    await site.noted("began")
    other = await site.worker(task.name, lease=1)

    answer = await handle.result(timeout=60)
    await first.logs(
        rf"Task {int(handle)} '\S+'(: its lease could not be renewed| is stopped: its lease is lost)"
    )
    await site.noted("ended", times=2)

    stored = await site.stored(handle)
    assert answer == other.pid
    assert (stored.run, stored.settled_run) == (2, 2)
    assert await handle.result() == other.pid
