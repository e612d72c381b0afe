"""How many may start, by mode."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapusta import TaskExecutionMode
from kapusta._slots import Slots, share_out

SYNC, ASYNC = TaskExecutionMode.sync, TaskExecutionMode.async_
THREAD, PROCESS = TaskExecutionMode.thread, TaskExecutionMode.process

rooms = st.dictionaries(st.sampled_from(TaskExecutionMode), st.integers(-3, 120))


@given(total=st.integers(0, 120), room=rooms)
def test_no_more_is_shared_out_than_there_is(total: int, room: dict[TaskExecutionMode, int]) -> None:
    """The limits hold: in all, and for each mode; and nothing that somebody could use is left lying."""
    shares = share_out(total, room)

    assert all(0 < share <= room[mode] for mode, share in shares.items())
    assert sum(shares.values()) == min(total, sum(wants for wants in room.values() if wants > 0))


@given(total=st.integers(0, 120), room=rooms)
def test_nobody_starves(total: int, room: dict[TaskExecutionMode, int]) -> None:
    """A mode with little room gets all of it before one with more gets a greater share."""
    shares = share_out(total, room)

    for mode, wants in room.items():
        if wants > 0 and (got := shares.get(mode, 0)) < wants:
            assert all(share <= got + 1 for share in shares.values())


@pytest.mark.parametrize(
    ("taken", "free"),
    [
        ([], {SYNC: 1, THREAD: 3, PROCESS: 2, ASYNC: 4}),
        ([SYNC], {THREAD: 3, PROCESS: 2, ASYNC: 4}),
        ([THREAD] * 3 + [PROCESS], {SYNC: 1, PROCESS: 1, ASYNC: 4}),
        ([ASYNC] * 8, {SYNC: 1, THREAD: 1}),
        ([THREAD] + [ASYNC] * 7 + [SYNC], {PROCESS: 1}),
        ([ASYNC] * 10, {}),
    ],
)
def test_what_is_taken_is_not_free(
    taken: list[TaskExecutionMode], free: dict[TaskExecutionMode, int]
) -> None:
    """A worker claims only what it can start at once, in every mode."""
    slots = Slots(total=10, threads=3, processes=2)
    for mode in taken:
        slots.take(mode)

    found = slots.free(TaskExecutionMode)

    assert slots.taken == len(taken)
    assert found == free


@given(total=st.integers(1, 3))
def test_where_slots_are_fewer_than_modes_each_mode_has_its_turn(total: int) -> None:
    """With ``max_concurrent_tasks=1`` a thread runs, too, however many coroutines are waiting."""
    slots = Slots(total=total, threads=5, processes=5)

    turns = []
    for _ in range(4):
        for mode in slots.free(TaskExecutionMode):
            slots.take(mode)
            slots.give_back(mode)
            turns.append(mode)

    assert set(turns) == set(TaskExecutionMode)


def test_a_slot_given_back_is_free_again() -> None:
    """A worker does not run dry."""
    slots = Slots(total=1, threads=1)
    slots.take(THREAD)
    assert slots.free([THREAD]) == {}

    slots.give_back(THREAD)

    assert slots.free([THREAD]) == {THREAD: 1}


def test_without_a_number_there_is_one_process_per_processor() -> None:
    """More children than processors would only take turns."""
    assert Slots(total=500, threads=1).limits[PROCESS] == (os.cpu_count() or 1)
