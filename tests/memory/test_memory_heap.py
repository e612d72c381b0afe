"""The order in which the memory backend keeps ids, held against a model."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from kapusta_memory._heap import LazyHeap

START = datetime(2030, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("seed", range(5))
def test_a_heap_gives_what_a_sorted_table_would(seed: int) -> None:
    """After any mixture of putting, moving, taking out and popping, the smallest entry and all up to a key are right."""
    chance = random.Random(seed)
    heap: LazyHeap[datetime] = LazyHeap()
    model: dict[int, datetime] = {}

    for _ in range(5_000):
        number, key = chance.randrange(100), START + timedelta(minutes=chance.randrange(1000))
        match chance.choice(["put", "put", "put", "discard", "pop"]):
            case "put":
                heap.put(number, key)
                model[number] = key
            case "discard":
                heap.discard(number)
                model.pop(number, None)
            case _:
                if heap.first() is not None:
                    heap.pop()
                    del model[min((each, number) for number, each in model.items())[1]]
        assert len(heap) == len(model)
        assert heap.first() == min(((each, number) for number, each in model.items()), default=None)
        if chance.random() < 0.02:
            assert heap.up_to(key) == {number for number, each in model.items() if each <= key}
