"""Children that die: the outcome says how, all slots work again, and the neighbour in another child works on."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from kapusta import TaskStatus
from kapusta.backend import TaskQuery
from tests.processes.lab import Lab, lab, living_children
from tests.processes.programs import bodies, falls, mishaps
from tests.processes.slots import KEPT, KILL_GRACE, REPLACED, Slots
from tests.processes.workers import PROGRAMS
from tests.worker.eventually import eventually
from tests.worker.leftovers import is_alive


def timeout_of(here: Lab, seconds: float) -> Callable[[], Awaitable[float]]:
    """When the timeout of the body comes that is about to begin."""

    async def come() -> float:
        await here.began()
        return float(here.notes("began")[0][2]) + seconds

    return come


async def now() -> float:
    """At its launch."""
    return time.time()


@pytest.mark.parametrize(
    ("case", "body", "arguments", "reason"),
    [
        ("segfault", mishaps.segfault, {}, "its child process was ended by signal 11, SIGSEGV"),
        (
            "os._exit(7)",
            mishaps.leave,
            {"code": 7},
            "its child process ended with exit code 7 before it had answered",
        ),
        (
            "os._exit(0)",
            mishaps.leave,
            {"code": 0},
            "its child process ended with exit code 0 before it had answered",
        ),
        (
            "SIGKILL, as an OOM kill looks from outside",
            mishaps.be_killed,
            {},
            "its child process was ended by signal 9, SIGKILL (out of memory?)",
        ),
        (
            "SIGKILL by the kernel, at a limit of processor time",
            mishaps.spend_all_processor_time,
            {},
            "its child process was ended by signal 9, SIGKILL (out of memory?)",
        ),
    ],
)
async def test_a_death_is_stored_with_its_exit_code_or_signal(
    tmp_path: Path,
    slots: Slots,
    case: str,
    body: Callable[..., None],
    arguments: dict[str, Any],
    reason: str,
) -> None:
    """A body that takes its child along is held with exit code or signal, and all slots run bodies again."""
    async with lab(tmp_path) as here:
        accident = slots.check(case, await here.accident(here.task(body), **arguments))

    task = accident.task
    assert (task.status, task.crashes, task.failures) == (TaskStatus.held, 1, 0)
    assert task.reason == f"{reason}; that was crash 1 in a row, max_crashes=1"


@pytest.mark.parametrize(
    ("case", "body", "bound"),
    [
        ("SIGKILL, with a copy by os.fork", mishaps.fork_and_die, KILL_GRACE),
        ("SIGKILL, with a copy by a library in C", mishaps.fork_in_c_and_die, REPLACED),
    ],
)
async def test_a_copy_of_the_process_does_not_hide_its_death(
    tmp_path: Path, slots: Slots, case: str, body: Callable[..., None], bound: float
) -> None:
    """A child that has forked, and is killed, is known to be dead, though its copy is out of reach.

    At once, where Python has made the copy, which then has no channel; else within the two seconds of a kill.
    """
    async with lab(tmp_path) as here:
        accident = slots.check(case, await here.accident(here.task(body)), bound=bound)
        os.kill(int(here.notes("escaped")[0][0]), signal.SIGKILL)

    assert accident.task.status is TaskStatus.held


async def test_memory_that_is_refused_is_an_error_of_the_body(tmp_path: Path, slots: Slots) -> None:
    """A `MemoryError` is no death: it is stored as the body's error, and the child is kept for the next body."""
    async with lab(tmp_path) as here:
        task = here.task(mishaps.ask_for_too_much_memory)
        accident = slots.check("MemoryError", await here.accident(task), bound=KEPT)
        child = int(here.notes("ends")[0][0])

    assert accident.task.status is TaskStatus.error
    assert accident.task.error is not None
    assert accident.task.error.rstrip().endswith("MemoryError")
    assert child in accident.children


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGHUP])
async def test_a_child_killed_from_outside_while_busy(
    tmp_path: Path, slots: Slots, number: signal.Signals
) -> None:
    """Whoever kills a child under its body: the outcome names the signal, and all slots run bodies again."""
    async with lab(tmp_path) as here:

        async def kill() -> float:
            os.kill(await here.began(), number)
            return time.time()

        accident = await here.accident(here.task(mishaps.sleep), meanwhile=kill)
        slots.check(f"kill -{int(number)} from outside, busy", accident)

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


async def test_a_child_killed_from_outside_while_idle_costs_nothing(tmp_path: Path, slots: Slots) -> None:
    """`kill -9` of every idle child: bodies run at once in new ones, in all slots, and no crash is counted."""
    async with lab(tmp_path) as here:
        await here.fill()
        idle = await eventually(living_children, "children are idle")
        for pid in idle:
            os.kill(pid, signal.SIGKILL)
        killed_at = time.time()
        children, back_at = await here.fill()
        task = await here.end_of((await here.kapusta.crud.find_tasks(TaskQuery()))[-1].id)

    slots.check_figures("kill -9 from outside, idle", back_at - killed_at)
    assert not children & idle
    assert (task.status, task.run, task.crashes) == (TaskStatus.success, 1, 0)


async def test_a_child_that_ignores_sigterm_is_killed_at_its_timeout(tmp_path: Path, slots: Slots) -> None:
    """A body that ignores SIGTERM ends by SIGKILL, two seconds after its timeout, which is the outcome."""
    async with lab(tmp_path) as here:
        stubborn = here.task(mishaps.sleep_through_sigterm, timeout=0.5)
        accident = await here.accident(stubborn, meanwhile=timeout_of(here, 0.5))
        slots.check("timeout, ignores SIGTERM", accident)
        child = int(here.notes("began")[0][0])

        assert accident.gone >= KILL_GRACE
        assert not is_alive(child)
    assert (accident.task.status, accident.task.failures) == (TaskStatus.timeout, 1)
    assert accident.task.error == "TimeoutError: the body took longer than its timeout of 0.5 s"


async def test_a_body_has_two_seconds_to_clear_up_at_its_timeout(tmp_path: Path, slots: Slots) -> None:
    """SIGTERM comes first: a body that handles it does what is left to do, and its slot waits for that."""
    async with lab(tmp_path) as here:
        tidy = here.task(mishaps.clear_up_at_sigterm, timeout=0.5)
        accident = await here.accident(tidy, meanwhile=timeout_of(here, 0.5))
        slots.check("timeout, clears up for half a second", accident, bound=KILL_GRACE)

        assert len(here.notes("cleared")) == 1
        assert accident.gone >= 0.5
    assert accident.task.status is TaskStatus.timeout


@pytest.mark.parametrize(
    ("case", "body"),
    [
        ("timeout", mishaps.sleep),
        ("timeout, with a child of its own", mishaps.sleep_with_a_child),
        ("timeout, deaf in C", mishaps.sleep_with_the_interpreter_locked),
    ],
)
async def test_a_timeout_ends_the_body_and_its_own_children(
    tmp_path: Path, slots: Slots, case: str, body: Callable[..., Any]
) -> None:
    """At its timeout a body is gone, with what it has started, and also where it is somewhere in C."""
    async with lab(tmp_path) as here:
        task = here.task(body, timeout=0.5)
        accident = slots.check(case, await here.accident(task, meanwhile=timeout_of(here, 0.5)))
        processes = [int(word) for word in (here.notes("began")[0][0], *here.notes("began")[0][3:])]

        assert accident.task.status is TaskStatus.timeout
        await eventually(lambda: not any(map(is_alive, processes)), "all are gone", within=5)


async def test_a_grandchild_that_ignores_sigterm_is_gone_after_a_timeout(
    tmp_path: Path, slots: Slots
) -> None:
    """After a timeout a grandchild is gone that does not care for SIGTERM, though its own parent does."""
    async with lab(tmp_path) as here:

        async def have_a_child() -> float:
            await eventually(lambda: here.notes("sleeps"), "it has a child")
            return time.time()

        task = here.task(bodies.start_a_child_and_sleep, timeout=1)
        accident = await here.accident(task, meanwhile=have_a_child)
        slots.check("timeout of 1 s, a grandchild ignores SIGTERM", accident)
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
    tmp_path: Path, slots: Slots, fall: str, status: TaskStatus, words: str
) -> None:
    """A module that its parent could import and a child cannot: the outcome says why, and all slots work again."""
    async with lab(tmp_path, process_environment={**os.environ, "FALL": fall}) as here:
        task = here.task(falls.body, timeout=1 if fall == "sleep" else None)
        accident = await here.accident(task, meanwhile=now)
        slots.check(f"the import fails in the child: {fall}", accident, bound=15)

    assert accident.task.status is status
    assert words in f"{accident.task.error} {accident.task.reason}"


async def test_a_script_without_a_guard_costs_its_task_and_no_slot(tmp_path: Path, slots: Slots) -> None:
    """The child does not run the script a second time: the outcome names the guard, and all slots work again."""
    script = await asyncio.create_subprocess_exec(
        sys.executable, str(PROGRAMS / "unguarded.py"), str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        printed, _ = await script.communicate()

    seen = json.loads(printed)
    slots.check_figures("a script without a __main__ guard", seen["gone"], seen["neighbour"])
    assert (script.returncode, seen["status"]) == (0, TaskStatus.error)
    assert 'if __name__ == "__main__":' in seen["error"]
