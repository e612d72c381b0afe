"""The watchdog process: it kills at the end of a lease whom it was told to, and nobody else."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kapusta._arguments import Arguments
from kapusta._clock import SystemClock
from kapusta._codec import Codecs
from kapusta._executors._attempt import Attempt, Body, Ended, ResultEncoder, Returned, StopCause, Stopped
from kapusta._executors._process import ProcessExecutor
from kapusta._executors._watching import Watchdog
from kapusta._naming import ImportPath
from kapusta._worker._keeper import Lease
from tests.processes.programs import falls
from tests.worker.eventually import eventually
from tests.worker.leftovers import is_alive

PAST, FAR = -60.0, 3600.0

Start = Callable[..., int]


class OtherScale(SystemClock):
    """Its monotonic scale began two hours after the machine's."""

    def monotonic(self) -> float:
        """As it says."""
        return super().monotonic() - 7200


@pytest.fixture(params=[SystemClock, OtherScale])
def clock(request: pytest.FixtureRequest) -> SystemClock:
    """The machine's clock, and one with a scale of its own."""
    clock: SystemClock = request.param()
    return clock


@pytest.fixture
def watchdog(clock: SystemClock) -> Iterator[Watchdog]:
    """A watchdog, closed when the test is over."""
    watchdog = Watchdog(clock, logging.getLogger("kapusta"))
    yield watchdog
    watchdog.close()


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts processes, each a session of its own, and ends them when the test is over."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> int:
        program = [sys.executable, "-c", "import time; time.sleep(600)"]
        started.append(subprocess.Popen(program, start_new_session=True))
        return started[-1].pid

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.fixture
def stranger() -> Iterator[int]:
    """A process that is a child of another one, and leads a group."""
    program = (
        "import subprocess, sys, time; "
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True).pid, "
        "flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        stranger = int(parent.stdout.readline())
        yield stranger
        if is_alive(stranger):
            os.kill(stranger, signal.SIGKILL)
        parent.kill()


@contextmanager
def frozen(watchdog: Watchdog) -> Iterator[None]:
    """While entered, the watchdog process reads nothing; then all at once."""
    watchdog.make_ready()
    assert watchdog.pid is not None
    os.kill(watchdog.pid, signal.SIGSTOP)
    yield
    os.kill(watchdog.pid, signal.SIGCONT)


def lease(clock: SystemClock, seconds: float) -> Lease:
    """A lease that ends after so many seconds."""
    return Lease(task_id=1, run=1, safe_until=clock.monotonic() + seconds)


async def is_killed(pid: int) -> None:
    """Return when a process has been killed."""
    await eventually(lambda: not is_alive(pid), "it is killed")


async def test_each_child_is_killed_at_the_end_of_its_own_lease(
    watchdog: Watchdog, clock: SystemClock, start: Start
) -> None:
    """One whose lease has been renewed lives on beside one whose lease ends, whatever scale the worker's clock has."""
    renewed, ended = start(), start()
    moved = lease(clock, PAST)
    with frozen(watchdog):
        watchdog.watch(renewed, moved)
        moved.safe_until = clock.monotonic() + FAR
        watchdog.tell_ends()
    watchdog.watch(ended, lease(clock, PAST))

    await is_killed(ended)

    assert is_alive(renewed)


async def test_a_child_that_is_forgotten_lives_on(
    watchdog: Watchdog, clock: SystemClock, start: Start
) -> None:
    """An idle child has no lease: it would be killed at the end of the last one, or under the next body."""
    idle, busy = start(), start()
    with frozen(watchdog):
        watchdog.watch(idle, lease(clock, PAST))
        watchdog.forget(idle)
    watchdog.watch(busy, lease(clock, PAST))

    await is_killed(busy)

    assert is_alive(idle)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="only Linux tells whose child a process is")
async def test_a_number_that_is_no_childs_any_more_is_left_alone(
    watchdog: Watchdog, clock: SystemClock, start: Start, stranger: int
) -> None:
    """The system gives the number of a reaped child to any other process: its group would be killed in its place."""
    child = start()
    watchdog.watch(stranger, lease(clock, PAST))
    watchdog.watch(child, lease(clock, PAST))

    await is_killed(child)

    assert is_alive(stranger)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_a_watchdog_that_does_not_read_is_replaced_and_blocks_nobody(
    watchdog: Watchdog,
    clock: SystemClock,
    start: Start,
    caplog: pytest.LogCaptureFixture,
    number: signal.Signals,
) -> None:
    """A keeper that waited for it would lose all leases, and children that nobody watched would outlive theirs."""
    child, other = start(), start()
    kept = lease(clock, FAR)
    watchdog.watch(child, kept)
    first = watchdog.pid
    assert first is not None
    os.kill(first, number)

    for _ in range(65_536):  # more bytes than a pipe holds
        if watchdog.pid != first:
            break
        watchdog.tell_ends()
    kept.safe_until = clock.monotonic() + PAST
    watchdog.watch(other, lease(clock, PAST))  # the new one knows both

    await is_killed(other)
    watchdog.tell_ends()
    await is_killed(child)
    assert not is_alive(first)
    assert caplog.text.count("The watchdog process was replaced: it had ended, or did not read") == 1


async def test_what_is_watched_when_the_worker_ends_is_killed(
    watchdog: Watchdog, clock: SystemClock, start: Start
) -> None:
    """No renewal will come for it. What it was told to forget is not its own to kill."""
    busy, idle = start(), start()
    for child in (busy, idle):
        watchdog.watch(child, lease(clock, FAR))
    watchdog.forget(idle)

    watchdog.close()

    assert not is_alive(busy)
    assert is_alive(idle)


async def test_a_watchdog_that_cannot_be_started_is_told_of_and_nothing_runs_unwatched(
    watchdog: Watchdog,
    clock: SystemClock,
    start: Start,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A body must not begin without it; one that runs goes on, and the next renewal tries again."""
    child = start()
    watchdog.watch(child, lease(clock, FAR))
    first = watchdog.pid
    assert first is not None
    with monkeypatch.context() as patch:
        patch.setattr(sys, "executable", "/nowhere/python")
        os.kill(first, signal.SIGKILL)
        await eventually(lambda: tells_of_failure(watchdog, caplog), "it is told of")
        with pytest.raises(FileNotFoundError):
            watchdog.watch(start_pid := 2**22 + 1, lease(clock, FAR))
        with pytest.raises(KeyError):
            watchdog.forget(start_pid)

    watchdog.tell_ends()

    assert watchdog.pid is not None
    assert is_alive(watchdog.pid)


def tells_of_failure(watchdog: Watchdog, caplog: pytest.LogCaptureFixture) -> bool:
    """Whether a renewal finds out that there is no watchdog process, and that none can be started."""
    watchdog.tell_ends()
    return "No watchdog process can be started" in caplog.text


@pytest.mark.parametrize(
    ("seconds", "naps", "ended"),
    [(PAST, 600, Stopped), (FAR, 0, Returned)],
    ids=["its lease has ended", "its lease goes on"],
)
async def test_a_body_that_ended_with_its_lease_is_said_to_have_lost_it(
    watchdog: Watchdog, clock: SystemClock, seconds: float, naps: float, ended: type[Ended]
) -> None:
    """The reason would speak of SIGKILL and of too little memory, and people would look there."""
    executor = ProcessExecutor(clock, None, 1000, 1, None, watchdog)
    attempt = Attempt(
        number=1,
        task_id=1,
        name="nap",
        function=falls.nap,
        args=(),
        kwargs={},
        payload=json.dumps({"seconds": naps}).encode(),
        codec="json",
        importable=ImportPath("tests.processes.programs.falls", "nap"),
        latest=None,
        lease=lease(clock, seconds),
        timeout=None,
        encode=ResultEncoder("nap", Codecs().named("json"), 1000, Arguments("nap", falls.nap, Codecs())),
    )

    try:
        async with asyncio.timeout(60):
            said = await executor.run(attempt, Body())
    finally:
        await executor.close()

    assert isinstance(said, ended)
    if isinstance(said, Stopped):
        assert said.cause is StopCause.lease_lost
