"""Claims and outcomes travel in full batches."""

from __future__ import annotations

import asyncio
import logging

import pytest

from kapusta._worker._dispatcher import is_worthwhile
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.scripted import ScriptedCRUD


@pytest.mark.parametrize(
    ("taken", "total", "expected"),
    [(0, 1, True), (1, 1, False), (0, 100, True), (50, 100, True), (51, 100, False), (100, 100, False)],
)
def test_half_of_the_slots_are_worth_a_claim(taken: int, total: int, expected: bool) -> None:
    """A claim for each slot that becomes free would cost as much as one for all of them."""
    assert is_worthwhile(taken, total) is expected


async def test_a_thousand_short_tasks_take_few_claims_and_settlements(
    on_sqlite: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """Claims drifted into batches of 95 and 5 before: twice as many statements for the same tasks."""
    store = ScriptedCRUD(on_sqlite())
    kapusta = make_kapusta(store, max_concurrent_tasks=100)
    left = 1000
    over = asyncio.Event()

    @kapusta.task()
    async def work() -> None:
        nonlocal left
        left -= 1
        if not left:
            over.set()

    await store.startup()
    await work.launch_many([{}] * 1000)
    await kapusta.startup()
    await over.wait()
    await kapusta.shutdown()

    claims = [call for call in store.script.calls if call.operation == "claim_tasks" and call.answer.tasks]
    settlements = [call for call in store.script.calls if call.operation == "change_tasks"]
    assert len(claims) <= 16  # a claim after a wake-up keeps some slots for the other modes
    assert len(settlements) <= 16


async def test_a_filter_that_fails_keeps_no_outcome_of_its_neighbours_back(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """The application's own filter raised: the other runs of the batch must end, with their slots and leases."""

    def refuse(record: logging.LogRecord) -> bool:
        if getattr(record, "event", "") in ("task_failed", "callback_failed"):
            raise RuntimeError("the application's")
        return True

    logger = logging.Logger("strict")  # noqa: LOG001 - of this test alone
    logger.addFilter(refuse)
    kapusta = make_kapusta(in_memory(), logger=logger)

    @kapusta.task()
    async def work(number: int) -> None:
        if number == 1:
            raise ValueError(number)

    await kapusta.startup()
    handles = await work.launch_many([{"number": number} for number in range(5)])
    await kapusta.run_until_idle()

    assert await handles[4].retry()
    await kapusta.run_until_idle()
    assert await handles[4].result(timeout=20) is None
