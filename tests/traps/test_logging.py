"""What is said, and where: an application's log is the application's."""

from __future__ import annotations

import logging

import pytest

from kapusta.testing import ManualClock
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.scripted import ScriptedCRUD


async def test_what_is_logged_can_be_grouped_and_found(
    in_memory: OpenStore, make_kapusta: MakeKapusta, caplog: pytest.LogCaptureFixture
) -> None:
    """However many tasks: the templates are few and the same, and each line about a task has its id as a field."""
    kapusta = make_kapusta(in_memory())

    @kapusta.task(name="divide")
    def divide(number: int) -> float:
        return 1 / number

    await kapusta.startup()
    templates: list[set[str]] = []
    with caplog.at_level(logging.INFO, logger="kapusta"):
        for count in (4, 40):
            caplog.clear()
            handles = await divide.launch_many([{"number": number} for number in range(-count, count)])
            await kapusta.run_until_idle()
            about_tasks = [record for record in caplog.records if "Task" in str(record.msg)]
            templates.append({str(record.msg) for record in caplog.records})
            assert {record.__dict__["task_id"] for record in about_tasks} == set(map(int, handles))
            assert len([record for record in about_tasks if record.levelno >= logging.ERROR]) == 1

    assert templates[0] == templates[1]
    assert not any(character.isdigit() for template in templates[1] for character in template)


async def test_nobodys_logging_is_set_up(in_memory: OpenStore, make_kapusta: MakeKapusta) -> None:
    """No handler, level or filter is given to any logger, ours or the root: whoever owns the process does that."""

    def shown() -> list[tuple[str, int, bool, list[logging.Handler], list[object]]]:
        loggers = [logging.getLogger(name) for name in (None, "kapusta", "kapusta.sqlalchemy")]
        return [(it.name, it.level, it.propagate, list(it.handlers), list(it.filters)) for it in loggers]

    before = shown()
    kapusta = make_kapusta(in_memory())
    task = kapusta.register_task(lambda: "ran", name="task")
    async with kapusta:
        await (await task.launch()).result(timeout=20)

    assert shown() == before
    assert [level for _, level, *_ in before[1:]] == [logging.NOTSET] * 2


async def test_a_filter_that_fails_ends_no_loop(
    in_memory: OpenStore, make_kapusta: MakeKapusta, capsys: pytest.CaptureFixture[str]
) -> None:
    """An outage, and a logger whose filter trips over each warning of it: the worker is there when the store is back."""

    def trip(record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            raise ZeroDivisionError("a slip in the filter")
        return True

    clock = ManualClock()
    store = ScriptedCRUD(in_memory(clock))
    logger = logging.Logger("the application's")  # noqa: LOG001 - one that nobody else has
    logger.addFilter(trip)
    kapusta = make_kapusta(store, logger=logger)
    task = kapusta.register_task(lambda: "ran", name="task")
    await kapusta.startup()
    store.script.down = {"*"}
    await clock.advance(minutes=5)
    store.script.down = set()
    await clock.advance(minutes=1)

    handle = await task.launch()
    await clock.advance(minutes=1)

    assert await handle.result(timeout=0) == "ran"
    assert "a slip in the filter" in capsys.readouterr().err
