"""A child is started before it is needed: the body that it is for was not there yet."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.processes.lab import lab, living_children
from tests.processes.programs import mishaps
from tests.worker.eventually import eventually
from tests.worker.leftovers import is_alive


async def test_the_first_body_runs_in_a_child_that_was_started_before_its_launch(tmp_path: Path) -> None:
    """A worker that knows a task of mode `process` starts a child, and the first body has that one."""
    async with lab(tmp_path) as here:
        ready = await eventually(living_children, "a child is ready")
        child, _ = await here.next_body()

    assert {child} == ready


@pytest.mark.parametrize("killed", [False, True])
async def test_while_a_body_runs_a_child_is_ready_for_the_next_one(tmp_path: Path, killed: bool) -> None:
    """There is one more child than bodies, as long as one more may run; also if the first had to be started anew."""
    async with lab(tmp_path) as here:
        first = await eventually(living_children, "a child is ready")
        if killed:
            os.kill(*first, signal.SIGKILL)
            await eventually(lambda: not any(map(is_alive, first)), "it is gone")
        key = tmp_path / "released"
        handle = await here.task(mishaps.hold, name="busy").launch(folder=str(tmp_path), key=str(key))
        await eventually(lambda: here.notes("holds"), "it runs")
        busy = {int(pid) for pid, *_ in here.notes("holds")}
        ready = await eventually(lambda: living_children() - busy, "another child is ready")
        child, _ = await here.next_body()
        key.touch()
        await handle.result(timeout=30)

    assert (busy == first) is not killed
    assert {child} == ready


@pytest.mark.parametrize(
    ("body", "timeout", "word"), [(mishaps.be_killed, None, "ends"), (mishaps.sleep, 0.5, "began")]
)
async def test_after_a_death_a_child_is_ready_for_the_next_body(
    tmp_path: Path, body: Callable[..., Any], timeout: float | None, word: str
) -> None:
    """A child that has died, or was killed at its timeout, is replaced before anything is launched."""
    async with lab(tmp_path, max_processes=1) as here:
        await here.end_of(await here.task(body, timeout=timeout).launch(folder=str(tmp_path)))
        dead = {int(pid) for pid, *_ in here.notes(word)}
        ready = await eventually(lambda: living_children() - dead, "another child is ready")
        child, _ = await here.next_body()

    assert {child} == ready
