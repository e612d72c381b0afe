"""A body that blocks the event loop costs no lease."""

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
