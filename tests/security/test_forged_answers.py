"""A body that speaks on the channel of its child process harms itself only."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from kapusta import TaskStatus
from tests.processes.lab import lab
from tests.security import bodies


@pytest.mark.parametrize("number", [1, None], ids=["of another job", "of its own job"])
async def test_an_answer_that_a_body_forges_becomes_the_result_of_no_other_task(
    tmp_path: Path, number: int | None
) -> None:
    """One answer too many would shift all results that follow in that child: each to the task after its own."""
    async with lab(tmp_path, max_processes=1) as here:
        forge = here.task(bodies.forge_an_answer, name="forge", max_crashes=1)
        give_back = here.task(bodies.give_back, name="give back", max_crashes=9)
        forged = await forge.launch(number=number)
        neighbours = [await give_back.launch(value=value) for value in range(5)]
        results = [(await neighbour.result(timeout=60))["value"] for neighbour in neighbours]
        record = await here.end_of(forged)

    assert results == list(range(5))
    if number is None:
        assert (record.status, record.result) == (TaskStatus.success, b'"forged"')
    else:
        assert record.status is TaskStatus.held
        assert "cannot be read: it is the answer to another job" in (record.reason or "")


async def test_a_body_that_begins_again_and_again_has_its_timeout_once(tmp_path: Path) -> None:
    """Whatever else a child says while its body runs must give that body no more time."""
    async with lab(tmp_path) as here, asyncio.timeout(40):
        begin = here.task(bodies.begin_again_and_again, timeout=1)
        record = await here.end_of(await begin.launch(seconds=60))

    assert record.status is TaskStatus.timeout
