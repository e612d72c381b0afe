"""Processes that are stopped when the test is over, and a look at the store from outside them."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kapusta import Kapusta, Task
from kapusta.backend import StoredTask, TaskQuery
from tests.processes.programs import bodies
from tests.processes.slots import FIGURE, Slots, table
from tests.processes.workers import Program
from tests.worker.eventually import eventually


@pytest.fixture(autouse=True)
def signals_as_in_a_terminal() -> Iterator[None]:
    """What is run in the background may have been told to ignore some; so would be all that it starts."""
    ignored = {
        number for number in (signal.SIGINT, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_IGN
    }
    for number in ignored:
        signal.signal(number, signal.SIG_DFL)
    yield
    for number in ignored:
        signal.signal(number, signal.SIG_IGN)


@pytest.fixture
def slots(record_property: Callable[[str, object], None]) -> Slots:
    """Whoever checks for how long slots were gone, and notes it in the test's report."""
    return Slots(record_property)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print, at the end of a run, for how long slots were gone."""
    reports = [report for each in ("passed", "failed") for report in terminalreporter.getreports(each)]
    figures = [
        figure
        for report in reports
        if report.when == "call"
        for name, figure in report.user_properties
        if name == FIGURE
    ]
    if figures:
        terminalreporter.section("accidents in child processes")
        for line in table(figures):
            terminalreporter.write_line(line)


class Site:
    """A store, by default one SQLite file, the processes that work on it, and a Kapusta that launches and runs nothing.

    Attributes:
        folder: where bodies leave notes, and where the file is.
        url: the store's.
    """

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder = folder
        self.url = url or f"sqlite+aiosqlite:///{folder}/tasks.db"
        self.kapusta = Kapusta(self.url)
        self._programs: list[Program] = []

    def task(self, name: str, **options: Any) -> Task[..., Any]:
        """The task that workers here run under the name of its body."""
        return self.kapusta.register_task(getattr(bodies, name), name=name, **options)

    async def worker(self, *names: str, lease: float = 30) -> Program:
        """Start a worker that knows these tasks; return when it works."""
        return await self.start("work.py", self.url, lease, *names)

    async def start(self, program: str, *arguments: object) -> Program:
        """Start one of the programs."""
        self._programs.append(await Program.start(self.folder, program, *arguments))
        return self._programs[-1]

    def notes(self, word: str) -> list[list[str]]:
        """What bodies have noted under *word*: the process's id, the word, and the rest."""
        return [words for words in bodies.notes(str(self.folder)) if words[1] == word]

    async def noted(self, word: str, *, times: int = 1) -> None:
        """Return when bodies have noted *word* so many times."""
        await eventually(lambda: len(self.notes(word)) >= times, f"{word!r} is noted")

    async def stored(self, task_id: int) -> StoredTask:
        """A task as it is stored."""
        (task,) = await self.kapusta.crud.find_tasks(TaskQuery(ids=frozenset({int(task_id)})))
        return task

    async def close(self) -> None:
        """Stop every process."""
        for program in self._programs:
            await program.stop()
        await self.kapusta.shutdown()


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    """A store on a file, to which processes can be added."""
    site = Site(tmp_path)
    await site.kapusta.crud.startup()
    yield site
    await site.close()
