"""Outcomes that are hard to tell, and bodies that treat their process badly; the child is kept, or replaced."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kapusta import ResultNotStoredError, TaskStatus
from tests.processes.lab import Lab, lab
from tests.processes.programs import mishaps
from tests.processes.slots import KEPT, Slots
from tests.worker.eventually import eventually
from tests.worker.leftovers import is_alive

MEBIBYTE = 1 << 20


async def in_the_same_child(here: Lab, child: int) -> bool:
    """Whether the next body finds the same child, in good order."""
    return (await here.next_body())[0] == child


@pytest.mark.parametrize(
    ("case", "body", "arguments", "words"),
    [
        (
            "an exception that cannot be encoded",
            mishaps.raise_the_unspeakable,
            {},
            "UnspeakableError: <exception str() failed>",
        ),
        (
            "an exception that is no text",
            mishaps.raise_half_a_character,
            {},
            "ValueError: before \\ud800 after",
        ),
        (
            "an exception of 5 MiB",
            mishaps.raise_at_length,
            {"size": 5 * MEBIBYTE},
            "characters left out",
        ),
        ("sys.exit", mishaps.leave_by_sys_exit, {}, "SystemExit: 5"),
    ],
)
async def test_an_exception_that_cannot_be_encoded_is_stored_as_text(
    tmp_path: Path,
    slots: Slots,
    case: str,
    body: Callable[..., Any],
    arguments: dict[str, Any],
    words: str,
) -> None:
    """No exception object travels: what cannot be pickled, or is no good text, is an error with its traceback."""
    async with lab(tmp_path) as here:
        accident = slots.check(case, await here.accident(here.task(body), **arguments), bound=KEPT)
        child = int(here.notes("ends")[0][0])

    task = accident.task
    assert (task.status, task.crashes) == (TaskStatus.error, 0)
    assert task.error is not None
    assert words in task.error
    assert f"in {body.__name__}" in task.error
    assert child in accident.children


@pytest.mark.parametrize(
    ("case", "body", "arguments", "words"),
    [
        (
            "a result that cannot be encoded",
            mishaps.return_a_lock,
            {},
            "an object of type lock cannot be encoded as JSON",
        ),
        (
            "a result that raises when it is encoded",
            mishaps.return_what_refuses,
            {},
            "encoding it raised KeyError: 'nobody looks at __class__'",
        ),
        (
            "a result that is too long",
            mishaps.return_at_length,
            {"size": MEBIBYTE},
            f"it takes {MEBIBYTE + 2} bytes, max_payload_bytes is {MEBIBYTE}",
        ),
    ],
)
async def test_a_result_that_cannot_be_stored_is_a_success_without_one(
    tmp_path: Path,
    slots: Slots,
    case: str,
    body: Callable[..., Any],
    arguments: dict[str, Any],
    words: str,
) -> None:
    """The body's work is done: the task succeeded, its reason says why there is no result, and the child is kept."""
    async with lab(tmp_path) as here:
        accident = slots.check(case, await here.accident(here.task(body), **arguments), bound=KEPT)
        child = int(here.notes("ends")[0][0])
        with pytest.raises(ResultNotStoredError):
            await here.kapusta.handle(accident.task.id).result()

    task = accident.task
    assert (task.status, task.result, task.run) == (TaskStatus.success, None, 1)
    assert task.reason is not None
    assert words in task.reason
    assert child in accident.children


async def test_a_mebibyte_travels_in_both_directions(tmp_path: Path) -> None:
    """A payload and a result at the limit arrive whole, one after the other in the same child."""
    limit = MEBIBYTE + 100
    async with lab(tmp_path, max_payload_bytes=limit) as here:
        child, _ = await here.next_body()
        value = "é" * (MEBIBYTE // 2)
        give_back = here.task(mishaps.give_back)
        results = [await (await give_back.launch(value=value)).result(timeout=30) for _ in range(3)]

        assert results == [value] * 3
        assert await in_the_same_child(here, child)


async def test_a_body_that_closes_everything_ends_as_its_child(tmp_path: Path, slots: Slots) -> None:
    """A child that has closed its own channel cannot answer: a crash with its exit code, and another child follows."""
    async with lab(tmp_path) as here:
        accident = await here.accident(here.task(mishaps.close_everything))
        slots.check("closes all that is open", accident)

    assert accident.task.status is TaskStatus.held
    assert accident.task.reason is not None
    assert "its child process ended with exit code 1 before it had answered" in accident.task.reason


async def test_a_body_that_forks_and_returns_twice_has_one_outcome(tmp_path: Path) -> None:
    """The copy's return is the copy's end: the outcome is the original's, and the next body hears its own answer."""
    async with lab(tmp_path) as here:
        child, _ = await here.next_body()
        fork = here.task(mishaps.fork_and_return)
        results = [await (await fork.launch(folder=str(tmp_path))).result(timeout=30) for _ in range(3)]
        copies = [int(words[2]) for words in here.notes("returns") if words[2] != str(child)]

        assert results == ["the original; the copy ended with 0"] * 3
        assert len(set(copies)) == 3
        assert await in_the_same_child(here, child)
        assert not any(map(is_alive, copies))


async def test_the_exit_code_of_a_copy_is_its_own(tmp_path: Path) -> None:
    """A body may fork, have its copy end by `sys.exit`, and wait for it, as any program may."""
    async with lab(tmp_path) as here:
        handle = await here.task(mishaps.fork_and_exit).launch(code=6)

        assert await handle.result(timeout=30) == 6


async def test_threads_left_behind_hold_up_nobody(tmp_path: Path) -> None:
    """A body that starts non-daemon threads and returns has succeeded; its child is kept, and ends at shutdown."""
    async with lab(tmp_path) as here:
        child, _ = await here.next_body()
        handle = await here.task(mishaps.leave_threads_behind).launch(folder=str(tmp_path))

        assert await handle.result(timeout=30) == child
        assert await in_the_same_child(here, child)
    assert not is_alive(child)


async def test_a_program_left_behind_ends_with_its_child(tmp_path: Path) -> None:
    """What a body starts and does not wait for may outlive the body, and ends with the child at shutdown."""
    async with lab(tmp_path) as here:
        handle = await here.task(mishaps.leave_a_child_behind).launch(folder=str(tmp_path))
        program = await handle.result(timeout=30)
        await here.next_body()

        assert is_alive(program)
    await eventually(lambda: not is_alive(program), "it is gone", within=5)
