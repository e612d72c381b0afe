"""Every event about a task is logged by a worker that runs, with the fields of the reference."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from kapusta import Backoff, TaskFailedError, TaskStatus
from kapusta._events import TASK_FIELDS
from kapusta._worker import _reporting
from kapusta.backend import LogEvent, log_event
from kapusta.testing import ManualClock
from kapusta_sqlalchemy import AlchemyCRUD
from tests.docs.pages import DOCS
from tests.worker import bodies
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.eventually import eventually
from tests.worker.log_scenes import LEASE, SCENES, Scene, fail
from tests.worker.scripted import ScriptedCRUD
from tests.worker.stored import claimed_by_the_dead

ROW: Final = re.compile(r"^\| `(task_\w+)` \| \w+ \| ([^|]*) \| ([^|]*) \| ([^|]*) \|", re.MULTILINE)
DOCUMENTED: Final = {
    word: tuple(map(str.strip, cells))
    for word, *cells in ROW.findall((DOCS / "reference" / "logs.md").read_text())
}


@pytest.fixture
def scene(
    in_memory: OpenStore,
    make_kapusta: MakeKapusta,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> Iterator[Scene]:
    """A scene whose threads are let go in the end."""
    caplog.set_level(logging.INFO, logger="kapusta")
    clock = ManualClock()
    store = ScriptedCRUD(in_memory(clock))
    kapusta = make_kapusta(store, grace=0, lease=LEASE)
    url = f"sqlite+aiosqlite:///{tmp_path / 'tasks.db'}"
    scene = Scene(store, kapusta, clock, in_memory, make_kapusta, url, monkeypatch, caplog)
    yield scene
    scene.let_go.set()


def test_every_event_about_a_task_has_its_scene() -> None:
    """An event that no test makes may have lost its fields."""
    assert list(SCENES) == [event.word for event in LogEvent if event.word.startswith("task_")]


@pytest.mark.parametrize("word", SCENES)
async def test_an_event_is_logged_with_the_fields_of_the_reference(scene: Scene, word: str) -> None:
    """One record has the documented level, status, duration and exception; a dashboard is built on these."""
    await SCENES[word](scene)

    (record,) = scene.records(word)
    fields = vars(record)
    status, duration, exception = DOCUMENTED[word]
    assert record.levelno == LogEvent[word].level
    assert set(TASK_FIELDS) <= set(fields)
    assert fields["task_id"] > 0
    assert fields["task_name"] == "task"
    assert fields["attempt"] == (None if word == "task_unreadable" else 1)
    if status in {"", *TaskStatus}:
        assert fields["status"] == (status or None)
    for said, value in ((duration, fields["duration"]), (exception, record.exc_info)):
        assert said.startswith("if ") or (value is not None) == (said == "yes")
    assert Path(record.pathname).name != "_events.py"  # the record names the place that logs


async def test_the_duration_is_that_of_the_body(scene: Scene) -> None:
    """A body of seven seconds is reported as such, however long its task waited before."""

    async def work() -> None:
        await scene.clock.sleep(7)

    task = scene.kapusta.register_task(work, name="task")
    await scene.store.startup()
    await task.launch()
    await scene.clock.advance(seconds=100)
    await scene.kapusta.startup()
    await scene.clock.advance(seconds=20)

    assert [vars(record)["duration"] for record in scene.records("task_succeeded")] == [7.0]


@pytest.mark.parametrize("mode", ["sync", "thread", "async_"])
async def test_each_failed_attempt_carries_its_exception(scene: Scene, mode: str) -> None:
    """Without it the cause of a retry is known when the last one has failed, days later."""

    async def fail_on_the_loop() -> None:
        fail()

    await scene.run(fail_on_the_loop if mode == "async_" else fail, mode, max_retry_attempts=1)
    await eventually(lambda: scene.records("task_retried"), "the first attempt is reported")
    await scene.clock.advance(minutes=5)
    await eventually(lambda: scene.records("task_failed"), "the last attempt is reported")

    (first,), (last,) = scene.records("task_retried"), scene.records("task_failed")
    assert [vars(record)["attempt"] for record in (first, last)] == [1, 2]
    for record in (first, last):
        assert record.exc_info is not None
        assert isinstance(record.exc_info[1], ZeroDivisionError)
        assert "ZeroDivisionError: what the body raised" in record.getMessage()
        assert "\n" not in record.getMessage()


TERRIBLE: Final = "\n2026-01-01 ERROR: forged\x1b[31m\x85\u2028"
"""A line of its own, a colour of the terminal, and two line breaks that few think of."""


def raw_in(record: logging.LogRecord) -> list[str]:
    """Return the control characters of what a formatter writes in the line of a record."""
    return [
        each for each in f"{record.getMessage()}{vars(record).get('task_name')}" if not each.isprintable()
    ]


async def test_control_characters_of_a_task_reach_no_message(scene: Scene) -> None:
    """A name or an error with a line break would forge a record, and an escape would rewrite the screen."""

    def fail_terribly() -> None:
        raise ValueError(TERRIBLE)

    task = scene.kapusta.register_task(fail_terribly, name=f"task{TERRIBLE}", max_retry_attempts=1)
    await scene.kapusta.startup()
    await task.launch()
    await scene.clock.advance(minutes=5)

    events = {vars(record)["event"] for record in scene.caplog.records}
    assert {"task_started", "task_retried", "task_failed"} <= events
    assert [raw_in(record) for record in scene.caplog.records] == [[]] * len(scene.caplog.records)
    (failed,) = scene.records("task_failed")
    assert r"task\n2026-01-01 ERROR: forged\x1b[31m\x85\u2028" in failed.getMessage()
    assert failed.exc_info is not None
    assert str(failed.exc_info[1]) == TERRIBLE  # a traceback is as logging makes it


async def test_control_characters_of_a_stored_row_reach_no_message(scene: Scene) -> None:
    """Who can write a row, or gives a worker its name, must not write into the log of others."""
    kapusta = scene.make_kapusta(AlchemyCRUD(scene.sqlite_url, clock=scene.clock))
    task = kapusta.register_task(lambda: 1, name="task")
    await kapusta.crud.startup()
    handles = await task.launch_many([{}, {}])
    await claimed_by_the_dead(kapusta.crud, "task", count=2, lease=LEASE)
    engine = create_async_engine(scene.sqlite_url)
    async with engine.begin() as connection:
        values = {"bad": TERRIBLE, "first": int(handles[0]), "second": int(handles[1])}
        await connection.execute(
            text("UPDATE kapusta_task SET worker = :bad, name = :bad WHERE id = :first"), values
        )
        await connection.execute(
            text("UPDATE kapusta_task SET mode = :bad, name = :bad WHERE id = :second"), values
        )
    await engine.dispose()

    await kapusta.startup()
    await scene.clock.advance(seconds=3 * LEASE)

    (rescued,), (unreadable,) = scene.records("task_rescued"), scene.records("task_unreadable")
    assert "forged" in rescued.getMessage()
    assert [vars(record)["task_id"] for record in (rescued, unreadable)] == list(map(int, handles))
    assert [raw_in(record) for record in scene.caplog.records] == [[]] * len(scene.caplog.records)


def test_nothing_is_built_for_a_level_that_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of tasks pass each second: what no handler sees must cost one comparison."""

    class Loud:
        def __str__(self) -> str:
            raise AssertionError("it was rendered")

    logger = logging.Logger("quiet", level=logging.ERROR)  # noqa: LOG001 - one that nobody else has
    monkeypatch.setattr(logger, "log", lambda *args, **options: pytest.fail("it was logged"))

    log_event(logger, LogEvent.task_started, "%s", Loud())


async def test_a_worker_builds_no_fields_for_a_level_that_is_off(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The dictionary of a record is built for a record only."""
    built: list[object] = []

    def note(*args: object, **fields: object) -> dict[str, object]:
        built.append(args)
        return {}

    monkeypatch.setattr(_reporting, "task_fields", note)
    scene.caplog.set_level(logging.ERROR, logger="kapusta")
    await scene.run(lambda: 1)
    quiet = list(built)
    scene.caplog.set_level(logging.INFO, logger="kapusta")
    await scene.kapusta.register_task(lambda: 1, name="other").launch()
    await scene.clock.settle()

    assert quiet == []
    assert len(built) == 2  # started, and succeeded


async def test_a_child_process_hands_over_its_exception(
    in_memory: OpenStore, make_kapusta: MakeKapusta, caplog: pytest.LogCaptureFixture
) -> None:
    """The object cannot come over; the text of its traceback does, where formatters look for it."""
    caplog.set_level(logging.INFO, logger="kapusta")
    kapusta = make_kapusta(in_memory())
    task = kapusta.register_task(
        bodies.divide_by_zero, "process", name="fail", max_retry_attempts=1, backoff=Backoff(maximum=0)
    )
    await kapusta.startup()
    with pytest.raises(TaskFailedError):
        await (await task.launch()).result(timeout=60)

    records = [each for each in caplog.records if vars(each).get("event") in {"task_retried", "task_failed"}]
    assert len(records) == 2
    for record in records:
        shown = logging.Formatter().format(record)
        assert "Traceback (most recent call last)" in shown
        assert shown.endswith("ZeroDivisionError: what the body raised")
        assert "ZeroDivisionError: what the body raised" in record.getMessage()
        assert 0 <= vars(record)["duration"] < 60
