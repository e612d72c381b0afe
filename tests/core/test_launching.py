"""From a call to a stored task."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from kapusta import Kapusta
from kapusta.backend import TaskQuery
from kapusta.testing import ManualClock


async def test_launch_now_means_now(kapusta: Kapusta, clock: ManualClock) -> None:
    """Whatever delay or moment the task, or what was said on the way, would have it wait for."""
    later = clock.now() + timedelta(hours=1)
    task = kapusta.register_task(lambda: 42, name="t", eta_delta=60)
    handles = [await each.launch_now() for each in (task, task.with_options(eta=later, eta_delta=30))]

    await kapusta.run_until_idle()

    assert [await handle.result(timeout=0) for handle in handles] == [42, 42]


async def test_a_parameter_may_have_any_name_but_one(kapusta: Kapusta) -> None:
    """``self`` is the function's own, however it is launched or called."""

    @kapusta.task(name="t")
    def named(**given: int) -> dict[str, int]:
        return given

    arguments: dict[str, Any] = {"self": 1, "args": 2, "task": 3, "func": 4, "name": 5}
    handles = [
        await named.launch(**arguments),
        await named.launch_now(**arguments),
        *await named.launch_many([arguments]),
        await named.launch(**arguments, update_params={}),
    ]
    await kapusta.run_until_idle()

    assert [await handle.result(timeout=0) for handle in handles] == [arguments] * 4
    assert named(**arguments) == arguments


async def test_many_are_launched_in_order_and_in_one_write(kapusta: Kapusta) -> None:
    """Their handles come in the order of the calls; none for none."""
    task = kapusta.register_task(lambda number: number, name="t")

    handles = await task.launch_many({"number": number} for number in range(5))
    await kapusta.run_until_idle()

    assert handles == sorted(handles)
    assert [await handle.result(timeout=0) for handle in handles] == list(range(5))
    assert await task.launch_many([]) == []


async def test_options_of_a_launch_are_this_launchs_own(kapusta: Kapusta) -> None:
    """A registered task is immutable; a variant with other options is another object."""
    task = kapusta.register_task(lambda: 42, name="t")

    patient = task.with_options(max_retry_attempts=5).with_options(eta_delta=60)

    assert (patient.max_retry_attempts, patient.eta_delta) == (5, timedelta(minutes=1))
    assert (task.max_retry_attempts, task.eta_delta) == (0, None)
    assert repr(task) == repr(patient) == "<Task 't' (sync)>"


async def test_a_call_stores_nothing(kapusta: Kapusta) -> None:
    """``task(7)`` just calls the function."""
    double = kapusta.register_task(lambda number: number * 2, name="t")

    assert double(21) == 42
    assert await kapusta.crud.find_tasks(TaskQuery()) == []


@pytest.mark.parametrize("name", ["launch", "launch_now"])
async def test_an_alias_runs_what_was_stored_under_the_old_name(kapusta: Kapusta, name: str) -> None:
    """Renaming a function loses none of its waiting tasks."""
    before = Kapusta(kapusta.crud)
    handle = await getattr(before.register_task(lambda: "old", name="shrink"), name)()
    kapusta.register_task(lambda: "new", name="resize", aliases=["shrink"])

    await kapusta.run_until_idle()

    assert await kapusta.handle(handle).result(timeout=0) == "new"
