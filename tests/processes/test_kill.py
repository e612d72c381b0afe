"""Processes that die, and processes that come back from the dead."""

from __future__ import annotations

import time

from kapusta import TaskStatus
from tests.processes.conftest import Site
from tests.worker.eventually import eventually

LEASE = 2.0


async def test_a_task_of_a_killed_process_runs_again_within_two_leases(site: Site) -> None:
    """`kill -9` mid-task: another process runs the task again within two leases, and it counts as a crash."""
    handle = await site.task("wait_once").launch(folder=str(site.folder), seconds=600)
    victim = await site.worker("wait_once", lease=LEASE)
    await eventually(lambda: site.notes("began"), "the victim has begun")
    rescuer = await site.worker("wait_once", lease=LEASE)

    victim.kill()
    killed_at = time.monotonic()
    await eventually(lambda: len(site.notes("began")) == 2, "another process has begun")
    took = time.monotonic() - killed_at

    assert await handle.result(timeout=20) == rescuer.pid
    stored = await site.stored(handle)
    assert took <= 2 * LEASE
    assert [int(words[0]) for words in site.notes("began")] == [victim.pid, rescuer.pid]
    assert (stored.run, stored.failures) == (2, 0)


async def test_the_answers_of_a_process_that_slept_past_its_leases_are_refused(site: Site) -> None:
    """SIGSTOP past the lease, then SIGCONT: the sleeper's own answer is refused, and the other's stays.

    Whether its body could be stopped, on the loop, or could not, blocking it.
    """
    waiting, blocking = site.task("wait_once"), site.task("block")
    sleeper = await site.worker("wait_once", "block", lease=LEASE)
    handles = [await waiting.launch(folder=str(site.folder), seconds=1.5)]
    await eventually(lambda: len(site.notes("began")) == 1, "the sleeper has begun the one")
    handles.append(await blocking.launch(folder=str(site.folder), seconds=1))
    await eventually(lambda: len(site.notes("began")) == 2, "the sleeper has begun the other")
    sleeper.freeze()
    other = await site.worker("wait_once", "block", lease=LEASE)
    outcomes = [await handle.result(timeout=20) for handle in handles]

    sleeper.thaw()
    for name in ("wait_once", "block"):
        await sleeper.logs(rf"'{name}' ended as '\w+', but its claim was lost: refused")

    assert outcomes == [other.pid, other.pid]
    assert [await handle.result() for handle in handles] == outcomes
    assert [(await site.stored(handle)).run for handle in handles] == [2, 2]


async def test_a_retry_outlives_the_process_that_made_the_first_attempt(site: Site) -> None:
    """`kill -9` between attempt 1 and its retry: another process makes attempt 2 at its eta; `failures` is 1."""
    workers = {worker.pid: worker for worker in [await site.worker("fail_once") for _ in range(2)]}
    retried = site.task("fail_once", max_retry_attempts=1, backoff=2)
    handle = await retried.launch(folder=str(site.folder))

    async def has_failed() -> bool:
        return (await site.stored(handle)).failures == 1

    await eventually(has_failed, "the first attempt has failed")
    first = int(site.notes("began")[0][0])
    workers.pop(first).kill()
    eta = (await site.stored(handle)).eta.timestamp()
    outcome = await handle.result(timeout=20)

    stored = await site.stored(handle)
    second_at = float(site.notes("began")[1][2])
    assert [outcome] == list(workers)
    assert -0.05 <= second_at - eta <= 1
    assert (stored.status, stored.failures, stored.crashes) == (TaskStatus.success, 1, 0)
