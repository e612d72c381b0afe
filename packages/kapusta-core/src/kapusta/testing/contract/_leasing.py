"""Laws of ``renew_leases``: a lease is extended for whoever holds it."""
# ruff: noqa: S101 - a law asserts, and the number in a law is the claim

from __future__ import annotations

from datetime import timedelta

from kapusta._enums import TaskStatus
from kapusta._records import Guard, RenewAnswer, RenewRequest

from .._examples import (
    HOUR,
    LEASE,
    answer,
    changed,
    claim,
    found,
    look,
    near,
    reaped,
    reclaimed,
    renewed,
    renewed_all,
    settled,
    started,
    task,
)
from .._law import law
from .._stage import Stage


class LeasingLaws:
    """What ``renew_leases`` extends."""

    @law
    async def test_a_renewal_extends_the_lease_from_now(self, stage: Stage) -> None:
        """``lease_end`` becomes the store's now plus the request's lease, and ``lease`` that lease.

        If it fails: the lease is added to the old end, or the old lease is used.
        """
        store = await stage.open()
        given = await started(store)
        stage.clock.shift(minutes=10)
        now = await stage.now(store)

        assert (await renewed(store, given, lease=HOUR)).answer is RenewAnswer.renewed

        kept = await look(store, given.id)
        assert kept.lease == HOUR
        assert near(kept.lease_end, now + HOUR)

    @law
    async def test_a_renewal_writes_nothing_but_the_lease(self, stage: Stage) -> None:
        """Run, worker, start and all else stay.

        If it fails: a renewal is written as a second claim.
        """
        store = await stage.open()
        given = await started(store)
        stage.clock.shift(minutes=10)

        await renewed(store, given, lease=HOUR)

        kept = await look(store, given.id)
        assert kept == given.replace(lease=HOUR, lease_end=kept.lease_end)

    @law
    async def test_a_lease_can_be_made_shorter(self, stage: Stage) -> None:
        """A renewal sets the end it asks for, even if that comes before the present one.

        If it fails: the later of the two ends is kept.
        """
        store = await stage.open()
        given = await started(store)
        now = await stage.now(store)

        await renewed(store, given, lease=timedelta(minutes=3))

        assert near((await look(store, given.id)).lease_end, now + timedelta(minutes=3))
        stage.clock.shift(minutes=5)
        assert await found(store, guards=frozenset({Guard.expired})) == [given.id]
        assert await answer(store, reaped(given)) == "accepted"

    @law
    async def test_a_lease_that_has_ended_is_renewed_while_nobody_took_the_task(self, stage: Stage) -> None:
        """However long a lease has ended, its holder can renew it as long as the task is still its own.

        If it fails: ``lease_end`` is in the condition. A worker that was frozen would lose a task for nothing.
        """
        store = await stage.open()
        given = await started(store)
        stage.clock.shift(days=3)
        now = await stage.now(store)

        late = await renewed(store, given)

        assert late.answer is RenewAnswer.renewed
        assert near((await look(store, given.id)).lease_end, now + LEASE)

    @law
    async def test_a_rescued_task_is_lost_to_its_worker(self, stage: Stage) -> None:
        """After a rescue the renewal is ``lost``: while the task waits, and once another has it.

        If it fails: the run is missing from the condition, or the status is.
        """
        store, other = await stage.open_all(2)
        given = await started(store, worker="ann")
        stage.clock.shift(minutes=45)
        await other.change_tasks([reaped(given)])

        waiting = await renewed(store, given)
        second = await reclaimed(other, "ann")
        taken = await renewed(store, given)

        assert (waiting.answer, taken.answer) == (RenewAnswer.lost, RenewAnswer.lost)
        assert await look(store, given.id) == second

    @law
    async def test_a_task_that_has_ended_has_no_lease_to_renew(self, stage: Stage) -> None:
        """A settled or held task is ``lost``, and stays as it is.

        If it fails: the status is missing from the condition.
        """
        store = await stage.open()
        ended, held = await started(store), await started(store)
        await store.change_tasks([settled(ended), settled(held, status=TaskStatus.held)])
        before = [await look(store, each.id) for each in (ended, held)]

        answers = await renewed_all(store, [ended, held])

        assert [each.answer for each in answers] == [RenewAnswer.lost] * 2
        assert [await look(store, each.id) for each in (ended, held)] == before

    @law
    async def test_a_lease_of_another_run_or_worker_is_lost(self, stage: Stage) -> None:
        """Renewals with another run, by another worker, or of a task that does not exist are ``lost``.

        If it fails: see which part of (id, run, worker) is not compared, or compared by a collation.
        """
        store = await stage.open()
        given = await started(store, worker="ann")

        answers = [
            await renewed(store, given.replace(run=2)),
            await renewed(store, given.replace(run=0)),
            await renewed(store, given, worker="bob"),
            await renewed(store, given, worker="Ann"),
            await renewed(store, given.replace(id=given.id + 1)),
        ]

        assert [each.answer for each in answers] == [RenewAnswer.lost] * 5
        assert await look(store, given.id) == given

    @law
    async def test_a_request_to_cancel_reaches_the_worker_with_its_renewal(self, stage: Stage) -> None:
        """``Renewed.cancel_requested`` tells of a request, and only of one for this task.

        If it fails: the flag is not read back, or is that of another row of the batch.
        """
        store, other = await stage.open_all(2)
        asked, spared = await started(store), await started(store)
        await other.change_tasks([changed(asked, Guard.running, cancel_requested=True)])

        answers = await renewed_all(store, [spared, asked])

        assert [(each.id, each.answer, each.cancel_requested) for each in answers] == [
            (spared.id, RenewAnswer.renewed, False),
            (asked.id, RenewAnswer.renewed, True),
        ]

    @law
    async def test_renewals_are_answered_each_in_its_place(self, stage: Stage) -> None:
        """Of 300 renewals in any order each answer stands where its renewal stood; none is answered by none.

        If it fails: answers come in the order of the ids, or lost ones are left out.
        """
        store = await stage.open()
        await store.add_tasks([task() for _ in range(300)])
        given = list((await claim(store)).tasks)
        given.reverse()
        await store.change_tasks([settled(given[7]), settled(given[200])])

        answers = await renewed_all(store, given, lease=HOUR)
        nothing = await store.renew_leases(RenewRequest(worker="ann", lease=HOUR, renewals=[]))

        assert [each.id for each in answers] == [each.id for each in given]
        assert [place for place, each in enumerate(answers) if each.answer is RenewAnswer.lost] == [7, 200]
        assert list(nothing) == []
