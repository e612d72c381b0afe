"""The store goes away under load, and comes back."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections import Counter

import pytest

from kapusta import Kapusta, LaunchUnknownError, TaskStatus
from kapusta.backend import TaskQuery
from tests.outages.conftest import MakeKapusta, Network
from tests.worker.eventually import eventually

LEASE = 30.0
OUTAGE = 3.0
"""Seconds; a tenth of a lease."""
MOST_TRIES = 100
"""Connections that are asked for in the outage, by five loops and by launches one after the other."""
TASKS = 60


async def test_an_outage_shorter_than_a_lease_runs_nothing_twice_and_loses_nothing(
    network: Network, make_kapusta: MakeKapusta, caplog: pytest.LogCaptureFixture
) -> None:
    """Bodies go on and their outcomes wait; loops go on trying, less and less often and with a line now and then."""
    worker = make_kapusta(network.url, lease=LEASE, store_timeout=1, max_concurrent_tasks=20)
    launcher = make_kapusta(network.url, store_timeout=1)
    began: Counter[int] = Counter()
    over = asyncio.Event()

    async def body(number: int) -> int:
        began[number] += 1
        if number < TASKS // 2:
            await over.wait()  # it ends in the middle of the outage
        return number

    worker.register_task(body, name="body")
    task = launcher.register_task(body, name="body")
    await launcher.crud.startup()
    await worker.startup()
    handles = await task.launch_many({"number": number} for number in range(TASKS))
    await eventually(lambda: len(began) >= 20, "all slots are in use")

    unknown: list[LaunchUnknownError] = []
    with caplog.at_level(logging.WARNING, logger="kapusta"):
        before = network.proxy.accepted
        await network.proxy.hang_up()
        over.set()
        end = time.monotonic() + OUTAGE
        while time.monotonic() < end:
            with pytest.raises(LaunchUnknownError) as caught:
                await task.launch(number=TASKS + len(unknown))
            unknown.append(caught.value)
        tries = network.proxy.accepted - before
        network.proxy.pick_up()
        handles += [await error.launch_again() for error in unknown]
        await eventually(lambda: _all_ended(launcher, len(handles)), "everything has ended", within=40)

    found = await launcher.crud.find_tasks(TaskQuery(limit=500))
    lines = Counter(re.split(" failed | ended ", line)[0] for line in caplog.messages)
    assert sorted(one.id for one in found) == sorted(map(int, handles))
    assert {one.status for one in found} == {TaskStatus.success}
    assert len(unknown) < tries < MOST_TRIES
    assert set(began.values()) == {1}
    assert len(began) == len(handles)
    assert max(lines.values()) <= 5, (
        f"a line for the first failure, the second, the fourth, the eighth: in {lines}"
    )


async def _all_ended(kapusta: Kapusta, count: int) -> bool:
    ended = TaskQuery(statuses=frozenset({TaskStatus.success}), limit=500)
    return len(await kapusta.crud.find_tasks(ended)) == count
