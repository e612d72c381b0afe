"""Two looks of a rescuer lie so far apart that a living worker has had its turn between them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from kapusta import TaskStatus
from kapusta._store import Store
from kapusta._worker._housekeeper import PAGE, Rescuer, rescue_checks
from kapusta._worker._keeper import busy_again
from kapusta.backend import Change, ChangeAnswer, Changed, Guard, StoreUnavailableError, TaskQuery
from kapusta.testing import ManualClock
from kapusta_memory import MemoryCRUD
from tests.sqlalchemy.records import new
from tests.worker.scripted import ScriptedCRUD
from tests.worker.stored import claimed_by_the_dead

LEASE = timedelta(seconds=3)
SOON = timedelta(seconds=1)


class MovingClock(ManualClock):
    """Time that passes by itself, as far as anybody can tell."""

    moves_by_itself = True


class Scene(ScriptedCRUD):
    """A store with tasks of a dead worker; their rows can be locked."""

    def __init__(self) -> None:
        self.time = MovingClock()
        super().__init__(MemoryCRUD(clock=self.time))
        self.asked: list[TaskStatus | None] = []
        store = Store(self, timeout=timedelta(seconds=10), outage_after=timedelta(seconds=10))
        self.rescuer = Rescuer(store, LEASE, lambda _: None, logging.getLogger("kapusta"), soon=SOON)

    async def open(self, tasks: int = 1) -> None:
        """Whose leases have ended long ago, and the store has been within reach since."""
        await self.startup()
        await self.add_tasks([new(name="task") for _ in range(tasks)])
        await claimed_by_the_dead(self, "task", count=tasks, lease=LEASE.total_seconds())
        self.time.shift(minutes=1)

    async def change_tasks(self, changes: Sequence[Change]) -> Sequence[Changed]:
        """As it is, unless the rows are locked."""
        assert {change.guard for change in changes} == {Guard.expired}
        self.asked.append(changes[0].status)
        if self.script.locked:
            return [Changed(id=change.id, answer=ChangeAnswer.refused) for change in changes]
        return await super().change_tasks(changes)

    async def look(self, *, locked: bool = False) -> bool:
        """Once."""
        self.script.locked = locked
        return await self.rescuer.rescue()


async def test_a_look_right_after_the_first_one_changes_nothing() -> None:
    """As one of `run_until_idle()` beside that of the housekeeper: both together are one look."""
    scene = Scene()
    await scene.open()

    first, at_once = await scene.look(), await scene.look()
    self_asked = list(scene.asked)
    scene.time.shift(seconds=1)
    later = await scene.look()

    assert (first, at_once, later) == (True, True, False)
    assert self_asked == [None]
    assert scene.asked == [None, TaskStatus.pending]


async def test_a_row_that_was_locked_again_is_asked_for_anew() -> None:
    """That it could be written once, long ago, is no turn for its worker."""
    scene = Scene()
    await scene.open()

    for locked in (False, True, True, False, False):
        await scene.look(locked=locked)
        scene.time.shift(seconds=1)

    assert scene.asked == [None, TaskStatus.pending, None, None, TaskStatus.pending]


async def test_trouble_in_the_middle_of_a_look_does_not_shorten_the_wait() -> None:
    """The next try comes within milliseconds, and is no second look for what the first has seen."""
    scene = Scene()
    await scene.open(PAGE + 1)

    def before(operation: str, asked: object) -> None:
        if operation == "find_tasks" and getattr(asked, "after_id", 0):
            raise StoreUnavailableError(operation=operation, problem="connection reset")

    scene.script.before = before
    with pytest.raises(StoreUnavailableError, match="connection reset"):
        await scene.look()
    scene.script.before = lambda operation, asked: None
    await scene.look()

    assert set(scene.asked) == {None}


async def test_a_row_that_is_busy_keeps_no_page_after_it_waiting_and_is_told_in_the_end() -> None:
    """All the others are rescued; who looks hears of the trouble, and comes back sooner for it."""
    scene = Scene()
    await scene.open(PAGE + 1)
    busy = (await scene.find_tasks(TaskQuery(limit=1)))[0].id

    def before(operation: str, asked: Any) -> None:
        if operation == "change_tasks" and busy in [change.id for change in asked]:
            raise StoreUnavailableError(operation=operation, problem="somebody else has it", busy=True)

    scene.script.before = before
    for _ in range(2):
        with pytest.raises(StoreUnavailableError, match="somebody else has it"):
            await scene.look()
        scene.time.shift(seconds=1)

    left = await scene.find_tasks(TaskQuery(statuses=frozenset({TaskStatus.started})))
    assert [task.id for task in left] == [busy]


@pytest.mark.parametrize("seconds", [0.1, 1, 3, 9.9, 10, 30, 300, 86_400])
def test_two_checks_come_within_two_leases_of_the_last_renewal(seconds: float) -> None:
    """The promise: the task of a dead worker runs again within two leases, whatever a lease is."""
    lease = timedelta(seconds=seconds)
    rescuable = 4 / 3 * seconds
    first = seconds / rescue_checks(lease)
    second = 1.5 * busy_again(seconds)

    assert rescuable + first + second <= 2 * seconds + 1e-9
