"""What a child finds around it, how many there are, how long they are kept, and when they end."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kapusta import TaskStatus
from tests.processes.lab import lab, living_children
from tests.processes.programs import bodies, falls, mishaps
from tests.processes.workers import PROGRAMS, Program
from tests.worker.eventually import eventually
from tests.worker.leftovers import children_of, is_alive

LOCALE = {"LC_ALL": "C.UTF-8"}  # without one, the child's own interpreter chooses one and writes it down


@pytest.fixture
async def programs() -> AsyncIterator[list[Program]]:
    """Programs that are stopped when the test is over."""
    started: list[Program] = []
    yield started
    for program in started:
        await program.stop()
        while await program.read():
            continue  # to the end, which comes when whoever shares its output is gone too


# --- what a child finds -----------------------------------------------------------------------------


async def test_a_child_sees_exactly_the_environment_that_it_is_given(tmp_path: Path) -> None:
    """With `process_environment=` a child's variables are those, no fewer and no more."""
    given = {**LOCALE, "ONLY": "this"}
    async with lab(tmp_path, process_environment=given) as here:
        seen = await (await here.task(mishaps.look_around).launch()).result(timeout=30)

    assert seen["environment"] == given


async def test_a_child_has_its_parents_environment_path_and_arguments(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default a child's variables, `sys.path`, `sys.argv` and folder are its parent's; its input is empty."""
    monkeypatch.setenv("LC_ALL", "C.UTF-8")
    monkeypatch.setenv("MINE", "é")
    monkeypatch.syspath_prepend(str(tmp_path))
    async with lab(tmp_path) as here:
        seen = await (await here.task(mishaps.look_around).launch()).result(timeout=30)

    assert seen.pop("environment").items() >= os.environ.items()  # and what a library in C may have added
    assert seen == {
        "argv": sys.argv,
        "path": sys.path,
        "folder": str(Path.cwd()),
        "stdin": "",
    }


async def test_what_a_child_prints_is_seen_at_once_where_its_parent_prints(
    tmp_path: Path, programs: list[Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A line that a body prints comes out of its parent's standard output when the body ends, not with the child."""
    monkeypatch.delenv("PYTHONUNBUFFERED", raising=False)
    programs.append(await Program.start(tmp_path, "host.py", "speak", json.dumps({"text": "here"})))

    assert await programs[0].read() == "here"
    assert await programs[0].read() == "None"


async def test_files_in_the_working_folder_do_not_get_in_a_childs_way(tmp_path: Path) -> None:
    """A child imports from where its parent does: a `queue.py` where the application was started is none of its.

    The parent's path has an entry that is no text, as some applications' have.
    """
    for name in ("queue.py", "socket.py", "kapusta.py"):
        (tmp_path / name).write_text("raise SystemExit('the wrong one')")
    host = await asyncio.create_subprocess_exec(
        sys.executable,
        str(PROGRAMS / "host.py"),
        "give_back",
        json.dumps({"value": "done"}),
        cwd=tmp_path,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    assert host.stdout is not None
    try:
        async with asyncio.timeout(30):
            printed = [(await host.stdout.readline()).decode().strip() for _ in range(2)]
    finally:
        host.kill()
        async with asyncio.timeout(30):
            rest, _ = await host.communicate()

    assert printed == ["ready", "done"]
    assert rest == b""


# --- how many, and how long -------------------------------------------------------------------------


async def test_a_second_body_finds_the_child_of_the_first(tmp_path: Path) -> None:
    """Bodies one after the other run in one process; fifty of them start no second one, and each has its own result."""
    async with lab(tmp_path, max_processes=1) as here:
        give_back = here.task(mishaps.give_back)
        child, _ = await here.next_body()
        began = time.monotonic()
        results = [await (await give_back.launch(value=n)).result(timeout=30) for n in range(50)]
        took = time.monotonic() - began

        assert results == list(range(50))
        assert living_children() == {child}
        assert (await here.next_body())[0] == child
    assert took < 20


async def test_two_bodies_run_at_once_in_two_children(tmp_path: Path) -> None:
    """Each body has a process to itself: two begin before either ends, under two numbers."""
    async with lab(tmp_path) as here:
        sleep = here.task(mishaps.sleep)
        handles = [await sleep.launch(folder=str(tmp_path), seconds=1) for _ in range(2)]
        await here.began(2)
        ended = len(here.notes("ended"))
        pids = {await handle.result(timeout=30) for handle in handles}

    assert ended == 0
    assert len(pids) == 2


async def test_no_more_children_than_max_processes(tmp_path: Path) -> None:
    """Of six bodies at once, with `max_processes=2`, two run at a time, and there are never three children."""
    async with lab(tmp_path) as here:
        sleep = here.task(mishaps.sleep)
        handles = await sleep.launch_many({"folder": str(tmp_path), "seconds": 0.2} for _ in range(6))
        most_children = most_bodies = 0

        def all_have_ended() -> bool:
            nonlocal most_children, most_bodies
            most_children = max(most_children, len(living_children()))
            ended = len(here.notes("ended"))
            most_bodies = max(most_bodies, len(here.notes("began")) - ended)
            return ended == 6

        await eventually(all_have_ended, "all have run", within=60)
        for handle in handles:
            await handle.result(timeout=30)

    assert most_children == 2
    assert most_bodies <= 2


async def test_idle_children_end_at_shutdown(tmp_path: Path) -> None:
    """Shutting down ends the idle children, the spare one too, without a kill's two seconds."""
    async with lab(tmp_path) as here:
        await here.next_body()
        children = await eventually(living_children, "there is a child")
        began = time.monotonic()
    took = time.monotonic() - began

    assert not any(map(is_alive, children))
    assert not living_children()
    assert took < 1.9


async def test_a_timeout_counts_from_where_the_body_begins(tmp_path: Path) -> None:
    """Neither the wait for a slot, nor the start of a child, nor the import is the body's time."""
    slow = {**os.environ, "FALL": "slow"}  # it takes 1.2 s to import
    async with lab(tmp_path, max_processes=1, process_environment=slow) as here:
        nap = here.task(falls.nap, timeout=2)
        handles = [await nap.launch(seconds=1) for _ in range(2)]
        ended = [await here.end_of(handle) for handle in handles]

    assert [task.status for task in ended] == [TaskStatus.success] * 2
    assert {task.result for task in ended} == {ended[0].result}


async def test_a_deadline_that_comes_while_the_body_is_imported_is_kept(tmp_path: Path) -> None:
    """The body begins before it or not at all, however long its import takes; the next one runs as ever."""
    slow = {**os.environ, "FALL": "slow"}  # it takes 1.2 s to import
    async with lab(tmp_path, max_processes=1, lease=2, process_environment=slow) as here:
        note = here.task(falls.note)
        late = await note.with_options(overdue_time=1).launch(folder=str(tmp_path))
        ended = await here.end_of(late)
        in_time = await note.with_options(overdue_time=60).launch(folder=str(tmp_path))
        child = await in_time.result(timeout=30)

    assert ended.status is TaskStatus.overdue
    assert (ended.failures, ended.crashes, ended.interruptions) == (0, 0, 0)
    assert [int(pid) for pid, _ in here.notes("begun")] == [child]


async def test_a_shutdown_without_grace_stops_the_body_and_ends_its_child(tmp_path: Path) -> None:
    """With `grace=0` a body is interrupted, which costs its task nothing, and its process is gone."""
    async with lab(tmp_path) as here:
        handle = await here.task(mishaps.sleep).launch(folder=str(tmp_path))
        child = await here.began()
        began = time.monotonic()
        await here.kapusta.shutdown()
        took = time.monotonic() - began
        await here.kapusta.crud.startup()
        status = await here.kapusta.get_task_status(handle)

        assert status is TaskStatus.pending
        assert not is_alive(child)
        assert not living_children()
    assert took < 8


async def test_a_shutdown_while_a_child_starts_begins_no_body(tmp_path: Path) -> None:
    """A body whose child was not ready when the shutdown came never begins, and no process is left."""
    async with lab(tmp_path) as here:
        handle = await here.task(mishaps.sleep).launch(folder=str(tmp_path))
        await eventually(lambda: here.kapusta.get_task_status(handle), "it is stored")
        await here.kapusta.shutdown()
        await here.kapusta.crud.startup()

        assert await here.kapusta.get_task_status(handle) is TaskStatus.pending
        assert not living_children()
    assert not here.notes("ended")


# --- when the parent is gone ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        mishaps.sleep,
        mishaps.sleep_through_sigterm,
        mishaps.sleep_with_a_child,
        bodies.start_a_child_and_sleep,
        mishaps.sleep_with_the_interpreter_locked,
    ],
)
async def test_when_the_parent_is_killed_its_children_end(
    tmp_path: Path, programs: list[Program], body: object
) -> None:
    """`kill -9` of the application: the busy child, the spare one and the body's own children are gone.

    Also where the body ignores SIGTERM, has a child that does, or is in C and keeps the interpreter to itself.
    """
    name = getattr(body, "__name__", "")
    host = await Program.start(tmp_path, "host.py", name, json.dumps({"folder": str(tmp_path)}))
    programs.append(host)
    await eventually(lambda: bodies.notes(str(tmp_path)), "the body has begun")
    children = children_of(host.pid)
    descendants = children | {pid for child in children for pid in children_of(child)}

    host.kill()

    assert len(descendants) >= 1
    await eventually(lambda: not any(map(is_alive, descendants)), "all are gone", within=10)


async def test_when_the_parent_is_killed_its_idle_children_end(
    tmp_path: Path, programs: list[Program]
) -> None:
    """`kill -9` of the application while nothing runs: the idle child is gone, and what a body had left behind."""
    host = await Program.start(
        tmp_path, "host.py", "leave_a_child_behind", json.dumps({"folder": str(tmp_path)})
    )
    programs.append(host)
    left_behind = int(await host.read())
    descendants = children_of(host.pid) | {left_behind}

    host.kill()

    await eventually(lambda: not any(map(is_alive, descendants)), "all are gone", within=10)
