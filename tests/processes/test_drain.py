"""Several processes, one file."""

from __future__ import annotations

import asyncio

from tests.processes.conftest import Site
from tests.worker.eventually import eventually

TASKS = 2000


async def test_four_processes_drain_two_thousand_tasks_each_once(site: Site) -> None:
    """Four processes on one SQLite file drain 2,000 tasks, and more than one takes part.

    Each body appends one line to a file: 2,000 lines, all of different tasks.
    """
    await asyncio.gather(*(site.worker("append") for _ in range(4)))
    append = site.task("append")

    for first in range(0, TASKS, 200):
        await append.launch_many(
            {"folder": str(site.folder), "number": number} for number in range(first, first + 200)
        )
    await eventually(lambda: len(site.notes("did")) >= TASKS, "every task has run", within=60)
    await site.close()

    done = site.notes("did")
    assert sorted(int(number) for _, _, number in done) == list(range(TASKS))
    assert len({pid for pid, _, _ in done}) > 1
