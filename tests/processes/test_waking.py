"""What one process launches, another one starts at once."""

from __future__ import annotations

import json
import statistics

from tests.processes.conftest import Site
from tests.worker.eventually import eventually


async def test_a_launch_starts_at_once_in_another_process(site: Site) -> None:
    """With max_tick_interval=300 a launch from another process on the same SQLite file starts within 300 ms."""
    await site.worker("stamp")
    launcher = await site.start("launch.py", site.url, "stamp")

    took = []
    for count in range(1, 8):
        await launcher.write(json.dumps({"folder": str(site.folder)}))
        launched_at = float(await launcher.read())
        await eventually(lambda: len(site.notes("stamped")) == count, "it has started", within=10)  # noqa: B023 - at once
        took.append(float(site.notes("stamped")[-1][2]) - launched_at)

    assert statistics.median(took) < 0.3
