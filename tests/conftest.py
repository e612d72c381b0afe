"""What holds for every test: the servers that it may ask for, and that it leaves nothing behind."""

from __future__ import annotations

import inspect
import time
from collections.abc import AsyncIterator, Iterator

import pytest

from tests.worker.eventually import eventually
from tests.worker.leftovers import Leftovers, tasks_of_this_loop

pytest_plugins = [
    "tests.servers.mariadb",
    "tests.servers.postgresql",
    "tests.servers.galera",
    "tests.servers.standby",
    "tests.servers.pgbouncer",
]

PATIENCE = 10
"""How many seconds things may take to go."""


@pytest.fixture(autouse=True)
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """No asyncio task, thread, child process, connection or open database outlives the test that caused it."""
    leftovers = Leftovers()
    if inspect.iscoroutinefunction(getattr(request.node, "obj", None)):
        request.getfixturevalue("no_asyncio_task_left_behind")
    yield
    if request.node.get_closest_marker("leaves_a_connection"):
        return
    give_up = time.monotonic() + PATIENCE
    while found := leftovers.found():
        assert time.monotonic() < give_up, f"left behind: {found}"
        time.sleep(0.01)


@pytest.fixture
async def no_asyncio_task_left_behind() -> AsyncIterator[None]:
    """The loop of a test has nothing to do when the test is over."""
    yield
    await eventually(lambda: not tasks_of_this_loop(), f"done: {tasks_of_this_loop()}", within=PATIENCE)
