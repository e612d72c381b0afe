"""Children that die: the outcome says how, the slot works again, and the neighbour in another child works on."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kapusta import TaskStatus
from tests.processes.lab import Accident, lab
from tests.processes.programs import bodies, falls, mishaps
from tests.worker.eventually import eventually
from tests.worker.leftovers import children_of, is_alive

SLOT_GONE = 8.0
"""How long the slot may be gone at most, in seconds, on a machine that is busy with something else."""
KILL_GRACE = 2.0
"""How long a child has, in seconds, between SIGTERM and SIGKILL."""
NEIGHBOUR = 1.5
"""How long a short body in another child may take at most: less than a kill may take."""


def reported(accident: Accident, *, gone: float = SLOT_GONE) -> Accident:
    """The accident, once its figures are printed (`pytest -rP` shows them) and within their bounds."""
    print(f"slot gone for {accident.gone:.3f} s, neighbour took {accident.neighbour:.3f} s at most")
    assert 0 < accident.gone < gone
    assert accident.neighbour < NEIGHBOUR
    return accident


@pytest.mark.parametrize(
    ("body", "arguments", "reason"),
    [
        pytest.param(
            mishaps.segfault, {}, "its child process was ended by signal 11, SIGSEGV", id="segfault"
        ),
        pytest.param(
            mishaps.leave,
            {"code": 7},
            "its child process ended with exit code 7 before it had answered",
            id="os._exit(7)",
        ),
        pytest.param(
            mishaps.leave,
            {"code": 0},
            "its child process ended with exit code 0 before it had answered",
            id="os._exit(0)",
        ),
        pytest.param(
            mishaps.be_killed,
            {},
            "its child process was ended by signal 9, SIGKILL (out of memory?)",
            id="as out of memory",
        ),
        pytest.param(
            mishaps.spend_all_processor_time,
            {},
            "its child process was ended by signal 9, SIGKILL (out of memory?)",
            id="killed by the kernel",
        ),
    ],
)
async def test_a_death_is_stored_with_its_exit_code_or_signal(
    tmp_path: Path,
    body: Callable[..., None],
    arguments: dict[str, Any],
    reason: str,
) -> None:
    """A body that takes its child along is held with exit code or signal, and the slot runs the next body."""
    async with lab(tmp_path) as here:
        accident = reported(await here.accident(here.task(body), **arguments))

    task = accident.task
    assert (task.status, task.crashes, task.failures) == (TaskStatus.held, 1, 0)
    assert task.reason == f"{reason}; that was crash 1 in a row, max_crashes=1"


@pytest.mark.parametrize(
    ("body", "gone"), [(mishaps.fork_and_die, KILL_GRACE), (mishaps.fork_in_c_and_die, SLOT_GONE)]
)
async def test_a_copy_of_the_process_does_not_hide_its_death(
    tmp_path: Path, body: Callable[..., None], gone: float
) -> None:
    """A child that has forked, and is killed, is known to be dead, though its copy is out of reach.

    At once, where Python has made the copy, which then has no channel; else within the two seconds of a kill.
    """
    async with lab(tmp_path) as here:
        accident = reported(await here.accident(here.task(body)), gone=gone)
        os.kill(int(here.notes("escaped")[0][0]), signal.SIGKILL)

    assert accident.task.status is TaskStatus.held


async def test_memory_that_is_refused_is_an_error_of_the_body(tmp_path: Path) -> None:
    """A `MemoryError` is no death: it is stored as the body's error, and the child is kept for the next body."""
    async with lab(tmp_path) as here:
        child, _ = await here.next_body()
        handle = await here.task(mishaps.ask_for_too_much_memory).launch(folder=str(tmp_path))
        task = await here.end_of(handle)

        assert task.status is TaskStatus.error
        assert task.error is not None
        assert task.error.rstrip().endswith("MemoryError")
        assert (await here.next_body())[0] == child


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
async def test_a_child_killed_from_outside_while_busy(tmp_path: Path, number: signal.Signals) -> None:
    """Whoever kills a child under its body: the outcome names the signal, and the slot runs the next body."""
    async with lab(tmp_path) as here:

        async def kill() -> float:
            os.kill(await here.began(), number)
            return time.time()

        accident = reported(await here.accident(here.task(mishaps.sleep), meanwhile=kill))

    assert accident.task.status is TaskStatus.held
    assert accident.task.reason is not None
    assert f"was ended by signal {int(number)}, {number.name}" in accident.task.reason


async def test_a_death_is_followed_by_another_attempt(tmp_path: Path) -> None:
    """Unless `max_crashes` says otherwise, a body whose child was killed runs again in another one, and succeeds."""
    async with lab(tmp_path) as here:
        handle = await here.task(mishaps.sleep, max_crashes=3).launch(folder=str(tmp_path), seconds=0.5)
        victim = await here.began()
        os.kill(victim, signal.SIGKILL)
        survivor = await handle.result(timeout=30)
        task = await here.end_of(handle)

    assert survivor != victim
    assert (task.status, task.run, task.crashes, task.failures) == (TaskStatus.success, 2, 0, 0)


async def test_a_child_killed_from_outside_while_idle_costs_nothing(tmp_path: Path) -> None:
    """`kill -9` of every idle child: the next body runs at once in a new one, and no crash is counted."""
    async with lab(tmp_path) as here:
        child, _ = await here.next_body()
        await eventually(lambda: child in living_children(), "it is idle")
        for pid in living_children():
            os.kill(pid, signal.SIGKILL)
        killed_at = time.time()
        handle = await here.task(mishaps.stamp, name="after").launch(folder=str(tmp_path))
        successor = await handle.result(timeout=30)
        gone = float(here.notes("stamped")[-1][2]) - killed_at
        task = await here.end_of(handle)

    print(f"slot gone for {gone:.3f} s")
    assert successor != child
    assert (task.status, task.run, task.crashes) == (TaskStatus.success, 1, 0)
    assert gone < SLOT_GONE


async def test_a_child_that_ignores_sigterm_is_killed_at_its_timeout(tmp_path: Path) -> None:
    """A body that ignores SIGTERM ends by SIGKILL, two seconds after its timeout, which is the outcome."""
    async with lab(tmp_path) as here:

        async def time_out() -> float:
            await here.began()
            return float(here.notes("began")[0][2]) + 0.5

        stubborn = here.task(mishaps.sleep_through_sigterm, timeout=0.5)
        accident = reported(await here.accident(stubborn, meanwhile=time_out))
        child = int(here.notes("began")[0][0])

        assert accident.gone >= 2
        assert not is_alive(child)
    assert (accident.task.status, accident.task.failures) == (TaskStatus.timeout, 1)
    assert accident.task.error == "TimeoutError: the body took longer than its timeout of 0.5 s"


async def test_a_body_has_two_seconds_to_clear_up_at_its_timeout(tmp_path: Path) -> None:
    """SIGTERM comes first: a body that handles it does what is left to do, and its slot waits for that."""
    async with lab(tmp_path) as here:

        async def time_out() -> float:
            await here.began()
            return float(here.notes("began")[0][2]) + 0.5

        tidy = here.task(mishaps.clear_up_at_sigterm, timeout=0.5)
        accident = reported(await here.accident(tidy, meanwhile=time_out))

        assert len(here.notes("cleared")) == 1
        assert 0.5 <= accident.gone < 2
    assert accident.task.status is TaskStatus.timeout


@pytest.mark.parametrize(
    "body", [mishaps.sleep, mishaps.sleep_with_a_child, mishaps.sleep_with_the_interpreter_locked]
)
async def test_a_timeout_ends_the_body_and_its_own_children(tmp_path: Path, body: Callable[..., Any]) -> None:
    """At its timeout a body is gone, with what it has started, and also where it is somewhere in C."""
    async with lab(tmp_path) as here:

        async def time_out() -> float:
            await here.began()
            return float(here.notes("began")[0][2]) + 0.5

        accident = reported(await here.accident(here.task(body, timeout=0.5), meanwhile=time_out))
        processes = [int(word) for word in (here.notes("began")[0][0], *here.notes("began")[0][3:])]

        assert accident.task.status is TaskStatus.timeout
        await eventually(lambda: not any(map(is_alive, processes)), "all are gone", within=5)


async def test_a_grandchild_that_ignores_sigterm_is_gone_after_a_timeout(tmp_path: Path) -> None:
    """After a timeout a grandchild is gone that does not care for SIGTERM, though its own parent does."""
    async with lab(tmp_path) as here:

        async def time_out() -> float:
            await eventually(lambda: here.notes("sleeps"), "it has a child")
            return time.time()

        task = here.task(bodies.start_a_child_and_sleep, timeout=1)
        accident = reported(await here.accident(task, meanwhile=time_out))
        [[_, _, grandchild]] = here.notes("sleeps")

        assert accident.task.status is TaskStatus.timeout
        await eventually(lambda: not is_alive(int(grandchild)), "it is gone", within=5)


@pytest.mark.parametrize(
    ("fall", "status", "words"),
    [
        ("ImportError", TaskStatus.error, "ImportError: no such library here"),
        ("SystemExit", TaskStatus.error, "SystemExit: 4"),
        ("os._exit", TaskStatus.held, "ended with exit code 9 before it had answered"),
        ("segfault", TaskStatus.held, "was ended by signal 11, SIGSEGV"),
        ("sleep", TaskStatus.timeout, "importing it in a child process took longer than its timeout of 1 s"),
    ],
)
async def test_an_import_that_fails_in_the_child_is_the_outcome(
    tmp_path: Path, fall: str, status: TaskStatus, words: str
) -> None:
    """A module that its parent could import and a child cannot: the outcome says why, and the slot works again."""
    async with lab(tmp_path, process_environment={**os.environ, "FALL": fall}) as here:

        async def now() -> float:
            return time.time()

        task = here.task(falls.body, timeout=1 if fall == "sleep" else None)
        accident = reported(await here.accident(task, meanwhile=now), gone=15)

    assert accident.task.status is status
    assert words in f"{accident.task.error} {accident.task.reason}"


def living_children() -> set[int]:
    """The children that this process has now and that are no zombies; the spare one is among them."""
    return {pid for pid in children_of(os.getpid()) if is_alive(pid)}
