"""A lease whose row somebody has locked."""

from __future__ import annotations

from collections.abc import Sequence

from kapusta.backend import (
    Change,
    ChangeAnswer,
    Changed,
    Guard,
    RenewAnswer,
    Renewed,
    RenewRequest,
)
from kapusta.testing import ManualClock
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.scripted import ScriptedCRUD
from tests.worker.stored import claimed_by_the_dead


class LockedCRUD(ScriptedCRUD):
    """A backend whose rows a stranger has locked while ``script.locked`` is set."""

    async def renew_leases(self, request: RenewRequest) -> Sequence[Renewed]:
        """Nothing that is locked is renewed."""
        if not self.script.locked:
            return await super().renew_leases(request)
        return [Renewed(id=renewal.id, answer=RenewAnswer.busy) for renewal in request.renewals]

    async def change_tasks(self, changes: Sequence[Change]) -> Sequence[Changed]:
        """Nothing that is locked is rescued."""
        if self.script.locked and any(change.guard is Guard.expired for change in changes):
            return [Changed(id=change.id, answer=ChangeAnswer.refused) for change in changes]
        return await super().change_tasks(changes)


class Contest:
    """Two workers, one of which has a task that takes ten minutes; its row can be locked.

    Attributes:
        begun: when a body began, by the clock.
    """

    def __init__(self, in_memory: OpenStore, make_kapusta: MakeKapusta) -> None:
        self.clock = ManualClock()
        store = LockedCRUD(in_memory(self.clock))
        self.script = store.script
        self.one = make_kapusta(store, default_timeout=None)
        self.other = make_kapusta(LockedCRUD(store.crud, store.script))
        self.begun: list[float] = []

        async def work() -> str:
            self.begun.append(self.clock.monotonic())
            await self.clock.sleep(600)
            return "done"

        self.task = self.one.register_task(work, name="work")
        self.other.register_task(work, name="work")


async def test_a_lease_whose_row_is_locked_is_held_and_its_worker_is_first_when_the_lock_has_gone(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """However long a stranger keeps the row: the body goes on, and no rescuer comes before the next renewal."""
    contest = Contest(in_memory, make_kapusta)
    await contest.one.startup()
    handle = await contest.task.launch()
    await contest.clock.advance(seconds=5)
    contest.script.locked = True
    await contest.clock.advance(seconds=0.6)
    await contest.other.startup()
    await contest.clock.advance(seconds=112.45)
    contest.script.locked = False  # a twentieth of a second before a rescuer looks
    await contest.clock.advance(minutes=10)

    assert await handle.result(timeout=0) == "done"
    assert len(contest.begun) == 1


async def test_a_lease_that_was_locked_until_just_before_the_first_look_is_its_workers_still(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """No look of the rescuer has met the lock: it comes when the lease has ended, and finds nobody in the way."""
    contest = Contest(in_memory, make_kapusta)
    await contest.other.startup()
    await contest.clock.advance(seconds=0.45)
    await contest.one.startup()
    handle = await contest.task.launch()  # from here on the rescuer looks a little before its worker asks
    await contest.clock.advance(seconds=5)
    contest.script.locked = True
    await contest.clock.advance(seconds=39.5)
    contest.script.locked = False
    await contest.clock.advance(minutes=10)

    assert await handle.result(timeout=0) == "done"
    assert len(contest.begun) == 1


async def test_a_lease_whose_worker_died_while_its_row_was_locked_is_rescued_all_the_same(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """It takes one look more."""
    clock = ManualClock()
    store = LockedCRUD(in_memory(clock))
    kapusta = make_kapusta(store)
    task = kapusta.register_task(lambda: "ran", name="task")
    await kapusta.crud.startup()
    handle = await task.launch()
    await claimed_by_the_dead(store.crud, "task")
    store.script.locked = True
    await kapusta.startup()
    await clock.advance(minutes=2)
    store.script.locked = False
    await clock.advance(seconds=25)

    assert await handle.result(timeout=0) == "ran"
