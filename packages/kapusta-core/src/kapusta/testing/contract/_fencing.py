"""Laws of ``change_tasks``: whose changes are accepted, and whose are not."""
# ruff: noqa: S101 - a law asserts, and the number in a law is the claim

from __future__ import annotations

from datetime import timedelta

from kapusta._enums import TaskStatus
from kapusta._records import Guard

from .._examples import (
    HOUR,
    LEASE,
    answer,
    changed,
    look,
    reaped,
    reclaimed,
    renewed,
    settled,
    started,
    stored,
    task,
)
from .._law import law
from .._stage import Stage


class FencingLaws:
    """What ``change_tasks`` refuses."""

    @law
    async def test_a_settlement_for_another_run_is_refused(self, stage: Stage) -> None:
        """A change for a run that is not the task's is refused and writes nothing.

        If it fails: ``run`` is missing from the condition.
        """
        store = await stage.open()
        given = await started(store)

        earlier = await answer(store, settled(given).replace(run=0))
        later = await answer(store, settled(given).replace(run=2))

        assert (earlier, later) == ("refused", "refused")
        assert await look(store, given.id) == given

    @law
    async def test_two_runs_of_one_task_in_a_batch_are_answered_apart(self, stage: Stage) -> None:
        """A lost run and the one that has the task now, in one batch: the first is refused, the second accepted.

        If it fails: the answers are looked up by the id of the task, and not by the place in the batch.
        """
        store = await stage.open()
        lost = await started(store, worker="ann")
        await answer(store, changed(lost, Guard.holder, worker="ann", status=TaskStatus.pending))
        given = await reclaimed(store, "ann")

        late, kept = await store.change_tasks([settled(lost, result=b"1"), settled(given, result=b"2")])

        assert (late.answer, kept.answer) == ("refused", "accepted")
        assert (await look(store, given.id)).result == b"2"

    @law
    async def test_a_settlement_by_another_worker_is_refused(self, stage: Stage) -> None:
        """The same run from another worker is refused: a failover can give one run twice.

        If it fails: ``worker`` is missing from the condition, or compared by a collation.
        """
        store = await stage.open()
        given = await started(store, worker="ann")

        answers = [
            await answer(store, settled(given).replace(worker=worker)) for worker in ("bob", "Ann", "ann ")
        ]

        assert answers == ["refused"] * 3
        assert await look(store, given.id) == given

    @law
    async def test_the_answer_to_a_run_that_was_lost_is_refused_once_there_is_another(
        self, stage: Stage
    ) -> None:
        """A zombie's answer to run 1 is refused while run 2 goes on, even if both are its own; run 2's is accepted.

        If it fails: the fence asks for status and worker, which are the same again, and not for the run.
        """
        store, other = await stage.open_all(2)
        first = await started(store, worker="ann")
        stage.clock.shift(minutes=45)
        await other.change_tasks([reaped(first)])
        second = await reclaimed(other, "ann")

        late = await answer(store, settled(first, result=b"late"))

        assert late == "refused"
        assert await look(store, first.id) == second
        assert await answer(other, settled(second, result=b"good")) == "accepted"

    @law
    async def test_the_answer_of_a_worker_whose_task_was_rescued_is_refused(self, stage: Stage) -> None:
        """Once a task was put back by a rescue its last holder's answer is refused, though nobody took it yet.

        If it fails: the status is missing from the condition of ``holder``.
        """
        store, other = await stage.open_all(2)
        given = await started(store)
        stage.clock.shift(minutes=45)

        rescued = await answer(other, reaped(given))

        assert rescued == "accepted"
        assert await answer(store, settled(given)) == "refused"
        assert (await look(store, given.id)).status is TaskStatus.pending

    @law
    async def test_the_answer_to_a_cancelled_task_is_refused(self, stage: Stage) -> None:
        """A task that was cancelled over its worker's head keeps that status.

        If it fails: ``holder`` accepts a task that has a final status.
        """
        store, other = await stage.open_all(2)
        given = await started(store)
        await other.change_tasks([changed(given, Guard.running, status=TaskStatus.cancelled)])

        late = await answer(store, settled(given))

        assert late == "refused"
        assert (await look(store, given.id)).status is TaskStatus.cancelled

    @law
    async def test_the_answer_to_an_earlier_life_is_refused(self, stage: Stage) -> None:
        """Once a person has retried a held task, the run that crashed can answer no more.

        If it fails: ``raise_run`` does not raise the run, so the late answer still fits.
        """
        store = await stage.open()
        given = await started(store)
        stage.clock.shift(minutes=45)
        await store.change_tasks([reaped(given, status=TaskStatus.held)])
        by_hand = changed(given, Guard.resting, status=TaskStatus.held, raise_run=True)

        assert await answer(store, by_hand) == "accepted"
        assert await answer(store, settled(given)) == "refused"

    @law
    async def test_a_repeated_settlement_is_already_there(self, stage: Stage) -> None:
        """The same run settled again by its worker is ``already``, whatever it says, and changes nothing.

        If it fails: a repeat after a lost reply is refused, or writes a second outcome.
        """
        store = await stage.open()
        given = await started(store)
        await store.change_tasks([settled(given, result=b"1")])
        before = await look(store, given.id)
        stage.clock.shift(hours=1)

        same = await answer(store, settled(given, result=b"1"))
        other = await answer(store, settled(given, status=TaskStatus.error, error="x"))

        assert (same, other) == ("already", "already")
        assert await look(store, given.id) == before

    @law
    async def test_a_repeated_release_is_already_there(self, stage: Stage) -> None:
        """A retry that was stored is ``already`` when it is repeated, until the task is claimed again.

        If it fails: ``already`` is answered for final statuses only, or for any run that was ever settled.
        """
        store = await stage.open()
        first = await started(store)
        release = settled(first, status=TaskStatus.pending)
        await store.change_tasks([release])

        waiting = await answer(store, release)
        second = await reclaimed(store, "ann")
        taken = await answer(store, release)

        assert (waiting, taken) == ("already", "refused")
        assert await look(store, first.id) == second

    @law
    async def test_a_repeat_by_another_worker_is_refused(self, stage: Stage) -> None:
        """``already`` is for the worker that settled the run; the same run from another is refused.

        If it fails: the worker is not compared before ``settled_run`` is.
        """
        store = await stage.open()
        given = await started(store, worker="ann")
        await store.change_tasks([settled(given)])

        assert await answer(store, settled(given).replace(worker="bob")) == "refused"

    @law
    async def test_only_holders_are_told_already(self, stage: Stage) -> None:
        """A rescue or a cancel that is repeated is refused: it settled nothing.

        If it fails: ``already`` is answered without looking at the guard.
        """
        store = await stage.open()
        given = await started(store)
        await store.change_tasks([settled(given)])

        running = await answer(store, changed(given, Guard.running, status=TaskStatus.cancelled))

        assert running == "refused"
        assert (await look(store, given.id)).status is TaskStatus.success

    @law
    async def test_a_task_held_by_its_crash_accepts_the_late_answer_once(self, stage: Stage) -> None:
        """A task that was held because its lease ended takes the late answer of that very run, and only one.

        If it fails: ``held`` is missing from the condition of ``holder``, or ``settled_run`` is.
        """
        store, other = await stage.open_all(2)
        given = await started(store)
        stage.clock.shift(minutes=45)
        await other.change_tasks([reaped(given, status=TaskStatus.held, crashes=1)])

        late = await answer(store, settled(given, result=b"late", crashes=0))
        again = await answer(store, settled(given, result=b"other"))

        kept = await look(store, given.id)
        assert (late, again) == ("accepted", "already")
        assert (kept.status, kept.result, kept.settled_run) == (TaskStatus.success, b"late", given.run)

    @law
    async def test_a_task_held_by_its_crash_refuses_other_workers(self, stage: Stage) -> None:
        """Only the worker whose run crashed can answer late.

        If it fails: a held task forgets its worker, or the worker is not compared.
        """
        store = await stage.open()
        given = await started(store, worker="ann")
        stage.clock.shift(minutes=45)
        await store.change_tasks([reaped(given, status=TaskStatus.held)])

        other = await answer(store, settled(given).replace(worker="bob"))

        assert other == "refused"
        assert (await look(store, given.id)).worker == "ann"

    @law
    async def test_a_task_held_by_its_holder_takes_no_other_answer(self, stage: Stage) -> None:
        """A task that its own worker has put on hold was settled by that: what follows is ``already``.

        If it fails: every held task takes a late answer, not only one held by its crash.
        """
        store = await stage.open()
        given = await started(store)
        await store.change_tasks([settled(given, status=TaskStatus.held, reason="unreadable")])

        after = await answer(store, settled(given))

        assert after == "already"
        assert (await look(store, given.id)).status is TaskStatus.held

    @law
    async def test_a_lease_expires_a_third_of_it_after_its_end(self, stage: Stage) -> None:
        """``expired`` holds from ``lease_end`` plus a third of the lease, at that instant and not before.

        If it fails: the third is missing, or taken of another lease; or the instant itself is left out.
        """
        store = await stage.open()
        given = await started(store)
        stage.clock.shift(minutes=38)
        before = await answer(store, reaped(given))

        await stage.reach(store, minutes=2)

        assert before == "refused"
        assert await answer(store, reaped(given)) == "accepted"

    @law
    async def test_a_renewed_lease_has_not_expired(self, stage: Stage) -> None:
        """A rescue that was decided before a renewal is refused after it, by the renewed lease's own third.

        If it fails: the decision is trusted instead of the row, or the first lease is remembered.
        """
        store, other = await stage.open_all(2)
        given = await started(store)
        stage.clock.shift(minutes=45)
        await renewed(store, given, lease=2 * LEASE)

        at_once = await answer(other, reaped(given))
        stage.clock.shift(minutes=78)
        within_its_third = await answer(other, reaped(given))
        await stage.reach(store, minutes=2)

        assert (at_once, within_its_third) == ("refused", "refused")
        assert await answer(other, reaped(given)) == "accepted"

    @law
    async def test_a_rescue_of_an_earlier_run_is_refused(self, stage: Stage) -> None:
        """Two that rescue one task do so once; and a rescue of run 1 never touches run 2.

        If it fails: a rescue looks at the status and the lease, and not at the run.
        """
        store, other = await stage.open_all(2)
        first = await started(store)
        stage.clock.shift(minutes=45)

        answers = [await answer(store, reaped(first)), await answer(other, reaped(first))]
        await reclaimed(store, "bob")
        stage.clock.shift(hours=5)

        assert answers == ["accepted", "refused"]
        assert await answer(other, reaped(first)) == "refused"

    @law
    async def test_overdue_holds_from_the_deadline_on(self, stage: Stage) -> None:
        """``overdue`` holds for a pending task from its deadline, that instant included, and not before.

        If it fails: the deadline is compared with the wrong clock or the wrong sign.
        """
        store = await stage.open()
        kept = await stored(store, task(overdue_after=HOUR))
        overdue = changed(kept, Guard.overdue, status=TaskStatus.overdue)
        stage.clock.shift(minutes=55)
        before = await answer(store, overdue)

        await stage.reach(store, minutes=5)

        assert before == "refused"
        assert await answer(store, overdue) == "accepted"

    @law
    async def test_a_task_that_started_in_time_is_never_overdue(self, stage: Stage) -> None:
        """A started task, and a task without a deadline, are not overdue however late it is.

        If it fails: the status is missing from the condition, or no deadline is an early one.
        """
        store = await stage.open()
        given = await started(store, task(overdue_after=HOUR))
        endless = await stored(store, task())
        stage.clock.shift(days=1000)

        answers = [
            await answer(store, changed(each, Guard.overdue, status=TaskStatus.overdue))
            for each in (given, endless)
        ]

        assert answers == ["refused", "refused"]

    @law
    async def test_resting_is_every_status_but_started(self, stage: Stage) -> None:
        """``resting`` holds for each status but ``started``, ``running`` for that one alone, ``waiting`` for two.

        If it fails: a guard lists statuses, and one is missing or too many. Cancelling what has just become overdue
        would then rewrite its end.
        """
        store = await stage.open()
        answers = {}
        for status in TaskStatus:
            given = await started(store)
            if status is not TaskStatus.started:
                await store.change_tasks([settled(given, status=status, delay=timedelta(days=1))])
            answers[status] = [
                await answer(store, changed(given, guard, cancel_requested=True))
                for guard in (Guard.resting, Guard.running, Guard.waiting)
            ]

        assert answers.pop(TaskStatus.started) == ["refused", "accepted", "refused"]
        for status in (TaskStatus.pending, TaskStatus.held):
            assert answers.pop(status) == ["accepted", "refused", "accepted"], status
        assert set(map(tuple, answers.values())) == {("accepted", "refused", "refused")}

    @law
    async def test_every_guard_asks_for_the_run(self, stage: Stage) -> None:
        """A change decided on an earlier run is refused under every guard.

        If it fails: the run is compared for ``holder`` only; a stale decision then hits a later run.
        """
        store = await stage.open()
        given = await started(store)
        resting = await stored(store, task(overdue_after=HOUR))
        stage.clock.shift(days=1)

        answers = [
            await answer(store, changed(each, guard, status=TaskStatus.held).replace(run=each.run + 1))
            for each, guard in [
                (given, Guard.running),
                (given, Guard.expired),
                (resting, Guard.resting),
                (resting, Guard.overdue),
            ]
        ]

        assert answers == ["refused"] * 4
        assert await look(store, given.id) == given
        assert await look(store, resting.id) == resting
