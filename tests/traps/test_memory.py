"""What a store in memory might let pass, and a database would not."""

from __future__ import annotations

from tests.worker.conftest import MakeKapusta, OpenStore


async def test_a_task_in_memory_has_nothing_in_common_with_its_caller(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """Arguments and results are what was given at the time, not the caller's own objects: a test sees what a worker would."""
    kapusta = make_kapusta(open_store())
    returned: list[list[int]] = []

    @kapusta.task()
    def total(numbers: list[int]) -> list[int]:
        numbers.append(sum(numbers))
        returned.append(numbers)
        return numbers

    await kapusta.crud.startup()
    numbers = [1, 2]
    handle = await total.launch(numbers)
    numbers.append(39)
    await kapusta.run_until_idle()
    returned[0].append(0)

    assert numbers == [1, 2, 39]
    assert await handle.result(timeout=5) == [1, 2, 3]
