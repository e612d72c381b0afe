"""Outcomes that wait for a store that is away: so many and no more, and written in portions."""

from __future__ import annotations

import pytest

from kapusta import Kapusta
from kapusta.testing import ManualClock
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.scripted import ScriptedCRUD

TASKS = 10
SIZE = 60
"""How many bytes each result takes."""


class Away:
    """A worker whose store takes no outcomes until it is told to; all are due at once."""

    def __init__(self, in_memory: OpenStore, make_kapusta: MakeKapusta, *, slots: int) -> None:
        self.clock = ManualClock()
        self.store = ScriptedCRUD(in_memory(self.clock))
        self.store.script.down = {"change_tasks"}
        self.kapusta: Kapusta = make_kapusta(
            self.store, max_concurrent_tasks=slots, max_tick_interval=3600, default_timeout=None
        )
        self.ran = 0

    async def run_what_may_run(self) -> None:
        """Launch all of them, and return when nothing more begins."""

        @self.kapusta.task()
        async def work() -> str:
            self.ran += 1
            return "x" * (SIZE - 2)  # and its quotation marks

        await self.kapusta.startup()
        await work.launch_many([{}] * TASKS)
        await self.clock.advance(seconds=1)

    async def come_back(self) -> list[int]:
        """Let it take outcomes; how many at once it was given."""
        self.store.script.down = set()
        await self.clock.advance(seconds=60)
        return [len(call.asked) for call in self.store.script.calls if call.operation == "change_tasks"]


@pytest.mark.parametrize(("limit", "value"), [("BACKLOG", 3), ("BACKLOG_BYTES", 2 * SIZE + 1)])
async def test_with_so_many_outcomes_waiting_nothing_more_is_claimed(
    limit: str,
    value: int,
    in_memory: OpenStore,
    make_kapusta: MakeKapusta,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What has run cannot be stored: nothing more runs, by rows and by bytes, until it has been."""
    monkeypatch.setattr(f"kapusta._worker._settler.{limit}", value)
    away = Away(in_memory, make_kapusta, slots=1)

    await away.run_what_may_run()
    ran = away.ran
    await away.come_back()

    assert (ran, away.ran) == (3, TASKS)


@pytest.mark.parametrize(
    ("limit", "value", "portions"), [("MAX_ROWS", 4, [4, 4, 2]), ("MAX_BYTES", 4 * SIZE + 1, [5, 5])]
)
async def test_what_has_gathered_is_written_in_portions(
    limit: str,
    value: int,
    portions: list[int],
    in_memory: OpenStore,
    make_kapusta: MakeKapusta,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No call to the store has more rows than it may, nor goes on growing when it has as many bytes."""
    monkeypatch.setattr(f"kapusta._worker._settler.{limit}", value)
    away = Away(in_memory, make_kapusta, slots=TASKS)

    await away.run_what_may_run()

    assert away.ran == TASKS
    assert await away.come_back() == portions
