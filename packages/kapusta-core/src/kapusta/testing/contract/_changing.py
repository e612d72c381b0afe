"""Laws of ``change_tasks``: what a change writes, and what it leaves."""
# ruff: noqa: S101, PLR2004 - a law asserts, and the number in a law is the claim

from __future__ import annotations

from datetime import timedelta

from kapusta._enums import FINAL, TaskStatus
from kapusta._records import Guard

from .._examples import (
    HOUR,
    answer,
    changed,
    claim,
    found,
    look,
    near,
    reaped,
    settled,
    started,
    stored,
    task,
)
from .._law import law
from .._stage import Stage


class ChangingLaws:
    """What ``change_tasks`` writes."""

    @law
    async def test_a_settlement_is_stored(self, stage: Stage) -> None:
        """A success is stored with its result, its run as ``settled_run``, and the instant at which it came.

        If it fails: compare what is written under ``holder`` with the specification of `Change`.
        """
        store = await stage.open()
        given = await started(store)
        stage.clock.shift(minutes=7)

        assert await answer(store, settled(given, result=b"42", reason="done")) == "accepted"

        kept = await look(store, given.id)
        assert (kept.status, kept.result, kept.reason) == (TaskStatus.success, b"42", "done")
        assert kept.settled_run == given.run
        assert given.started is not None
        assert near(kept.finished, given.started + timedelta(minutes=7))

    @law
    async def test_a_change_touches_only_what_it_says(self, stage: Stage) -> None:
        """A settlement ends the lease and leaves contents, eta, deadline, run, worker and counters alone.

        If it fails: a statement writes a column that is not the change's.
        """
        store = await stage.open()
        given = await started(store, task(priority=3, queue="mail", overdue_after=HOUR))

        await store.change_tasks([settled(given)])

        kept = await look(store, given.id)
        assert kept == given.replace(
            status=TaskStatus.success, settled_run=1, lease=None, lease_end=None, finished=kept.finished
        )

    @law
    async def test_every_final_status_has_its_instant(self, stage: Stage) -> None:
        """``finished`` becomes the store's now with each final status; ``held`` is not one.

        If it fails: only some statuses set it, or it is set from the process's time.
        """
        store = await stage.open()
        stage.clock.shift(hours=4)
        now = await stage.now(store)
        for status in TaskStatus:
            if status is not TaskStatus.started:
                given = await started(store)

                # A pending task must not be claimable by the next turn of the loop.
                await store.change_tasks([settled(given, status=status, delay=10 * HOUR)])

                finished = (await look(store, given.id)).finished
                assert near(finished, now) if status in FINAL else finished is None, status

    @law
    async def test_a_retry_is_pending_after_its_delay(self, stage: Stage) -> None:
        """``pending`` sets the eta to the store's now plus the delay; without a delay, to now.

        If it fails: the eta of the launch is kept, or counted on from.
        """
        store = await stage.open()
        first, second = await started(store), await started(store)
        stage.clock.shift(minutes=10)
        now = await stage.now(store)

        await store.change_tasks(
            [
                settled(first, status=TaskStatus.pending, delay=HOUR),
                settled(second, status=TaskStatus.pending),
            ]
        )

        assert near((await look(store, first.id)).eta, now + HOUR)
        assert near((await look(store, second.id)).eta, now)

    @law
    async def test_other_statuses_leave_the_eta(self, stage: Stage) -> None:
        """Only ``pending`` writes the eta.

        If it fails: the delay's default of zero is written with every change.
        """
        store = await stage.open()
        ended, held = await started(store), await started(store)
        stage.clock.shift(hours=2)

        await store.change_tasks([settled(ended), settled(held, status=TaskStatus.held, delay=HOUR)])

        assert (await look(store, ended.id)).eta == ended.eta
        assert (await look(store, held.id)).eta == held.eta

    @law
    async def test_a_counter_that_is_given_is_set(self, stage: Stage) -> None:
        """Given counters are set, also to 0; counters that are not given stay.

        If it fails: 0 is taken for "not given", or a counter is added to.
        """
        store = await stage.open()
        first = await started(store)
        up = settled(first, status=TaskStatus.pending, failures=3, crashes=2, interruptions=1)
        await store.change_tasks([up])
        (second,) = (await claim(store)).tasks

        await store.change_tasks([settled(second, status=TaskStatus.pending, crashes=0)])

        kept = await look(store, first.id)
        assert (second.failures, second.crashes, second.interruptions) == (3, 2, 1)
        assert (kept.failures, kept.crashes, kept.interruptions) == (3, 0, 1)

    @law
    async def test_result_error_and_reason_are_written_as_given(self, stage: Stage) -> None:
        """What a change does not give is cleared: an error of the first attempt is not left beside a success.

        If it fails: ``None`` is taken for "leave it".
        """
        store = await stage.open()
        first = await started(store)
        await store.change_tasks(
            [settled(first, status=TaskStatus.pending, result=b"part", error="boom", reason="retry 1 of 3")]
        )
        (second,) = (await claim(store)).tasks

        await store.change_tasks([settled(second)])

        kept = await look(store, first.id)
        assert (second.result, second.error, second.reason) == (b"part", "boom", "retry 1 of 3")
        assert (kept.result, kept.error, kept.reason) == (None, None, None)

    @law
    async def test_an_empty_result_is_not_no_result(self, stage: Stage) -> None:
        """The result ``b""`` and the error ``""`` come back as they are.

        If it fails: something takes emptiness for absence.
        """
        store = await stage.open()
        given = await started(store)

        await store.change_tasks([settled(given, result=b"", error="")])

        kept = await look(store, given.id)
        assert (kept.result, kept.error) == (b"", "")

    @law
    async def test_large_outcomes_are_kept_whole(self, stage: Stage) -> None:
        """A result of 1 MiB with every byte and an error text of 100,000 characters come back whole.

        If it fails: a column of 64 KiB, or a text that is cut off.
        """
        store = await stage.open()
        given = await started(store)
        result, error = bytes(range(256)) * 4096, "zażółć 🥬 " * 10_000

        await store.change_tasks([settled(given, result=result, error=error)])

        kept = await look(store, given.id)
        assert (kept.result, kept.error) == (result, error)

    @law
    async def test_text_that_no_database_likes_harms_no_neighbour(self, stage: Stage) -> None:
        """NUL and lone surrogates in an error or a reason: the batch is stored, the readable part too.

        If it fails: one task whose exception has such a text can never be settled, nor its neighbours.
        """
        store = await stage.open()
        nul, surrogate, plain = [await started(store) for _ in range(3)]

        answers = await store.change_tasks(
            [
                settled(nul, status=TaskStatus.error, error="before\x00after", reason="\x00"),
                settled(surrogate, status=TaskStatus.error, error="before\ud800after", reason="\udfff"),
                settled(plain, status=TaskStatus.error, error="plain"),
            ]
        )

        assert [each.answer for each in answers] == ["accepted"] * 3
        for given in (nul, surrogate):
            error = (await look(store, given.id)).error
            assert error is not None
            assert error.startswith("before")
            assert error.endswith("after")
        assert (await look(store, plain.id)).error == "plain"

    @law
    async def test_asking_for_a_cancel_writes_nothing_else(self, stage: Stage) -> None:
        """Without a status only ``cancel_requested`` is written, whatever else the change says.

        If it fails: result, reason, counters or the lease are written by every change.
        """
        store = await stage.open()
        given = await started(store)
        asking = changed(given, Guard.running, cancel_requested=True)

        assert await answer(store, asking.replace(reason="no", failures=7, delay=HOUR)) == "accepted"

        assert await look(store, given.id) == given.replace(cancel_requested=True)

    @law
    async def test_a_request_to_cancel_can_be_taken_back(self, stage: Stage) -> None:
        """Without a status ``cancel_requested`` is written as given: false as well.

        If it fails: the flag can only be set.
        """
        store = await stage.open()
        given = await started(store)
        await store.change_tasks([changed(given, Guard.running, cancel_requested=True)])

        await store.change_tasks([changed(given, Guard.running, cancel_requested=False)])

        assert (await look(store, given.id)).cancel_requested is False

    @law
    async def test_a_change_of_status_clears_the_request_to_cancel(self, stage: Stage) -> None:
        """A task that was settled or put back has no open request to cancel.

        If it fails: a retry is cancelled by a request that its first attempt has answered.
        """
        store = await stage.open()
        given = await started(store)
        await store.change_tasks([changed(given, Guard.running, cancel_requested=True)])

        await store.change_tasks([settled(given, status=TaskStatus.pending, cancel_requested=True)])

        assert (await look(store, given.id)).cancel_requested is False

    @law
    async def test_only_its_holder_settles_a_run(self, stage: Stage) -> None:
        """A change under another guard leaves ``settled_run``; so does a holder's change without a status.

        If it fails: a task that was held by its crash would refuse the late answer of that run.
        """
        store = await stage.open()
        given = await started(store)
        asking = settled(given).replace(status=None, cancel_requested=True)

        assert await answer(store, asking) == "accepted"
        asked = await look(store, given.id)
        stopped = changed(given, Guard.running, status=TaskStatus.held)
        assert await answer(store, stopped) == "accepted"

        assert asked.settled_run is None
        assert (await look(store, given.id)).settled_run is None

    @law
    async def test_another_life_raises_the_run_and_sets_the_deadline_anew(self, stage: Stage) -> None:
        """With ``raise_run`` the run grows by one and the deadline is now plus ``overdue_after``.

        If it fails: the deadline is counted from the launch, or the run is left.
        """
        store = await stage.open()
        given = await started(store, task(overdue_after=timedelta(minutes=30)))
        await store.change_tasks([settled(given, status=TaskStatus.error)])
        stage.clock.shift(hours=3)
        now = await stage.now(store)
        by_hand = changed(given, Guard.resting, status=TaskStatus.pending, raise_run=True)

        assert (
            await answer(store, by_hand.replace(overdue_after=HOUR, delay=timedelta(minutes=5))) == "accepted"
        )

        kept = await look(store, given.id)
        assert (kept.run, kept.settled_run) == (given.run + 1, given.run)
        assert near(kept.deadline, now + HOUR)
        assert near(kept.eta, now + timedelta(minutes=5))
        assert kept.finished is None

    @law
    async def test_another_life_can_ask_for_the_claim_that_was_lost(self, stage: Stage) -> None:
        """A held task is given another life under ``holder`` as under ``resting``, but not once its late answer is there.

        If it fails: ``raise_run`` is only carried out under ``resting``, or the answer that came first is overwritten.
        """
        store = await stage.open()
        lost, late = await started(store), await started(store)
        stage.clock.shift(minutes=45)
        await store.change_tasks([reaped(each, status=TaskStatus.held) for each in (lost, late)])
        await store.change_tasks([settled(late, result=b"late")])
        lives = [settled(each, status=TaskStatus.pending, raise_run=True) for each in (lost, late)]

        answers = [await answer(store, life) for life in lives]

        kept, ended = await look(store, lost.id), await look(store, late.id)
        assert answers == ["accepted", "already"]
        assert (kept.status, kept.run) == (TaskStatus.pending, lost.run + 1)
        assert (ended.status, ended.run, ended.result) == (TaskStatus.success, late.run, b"late")
        assert await answer(store, settled(lost)) == "refused"

    @law
    async def test_another_life_without_overdue_time_has_no_deadline(self, stage: Stage) -> None:
        """With ``raise_run`` and no ``overdue_after`` the old deadline is gone.

        If it fails: ``None`` leaves the deadline of the first life.
        """
        store = await stage.open()
        kept = await stored(store, task(overdue_after=HOUR))

        await store.change_tasks([changed(kept, Guard.resting, status=TaskStatus.cancelled, raise_run=True)])

        assert (await look(store, kept.id)).deadline is None

    @law
    async def test_a_retry_keeps_the_deadline(self, stage: Stage) -> None:
        """Without ``raise_run`` the deadline stays, and ``overdue_after`` does not count.

        If it fails: every retry would give a task more time.
        """
        store = await stage.open()
        given = await started(store, task(overdue_after=HOUR))
        stage.clock.shift(minutes=10)

        await store.change_tasks([settled(given, status=TaskStatus.pending, overdue_after=3 * HOUR)])

        assert (await look(store, given.id)).deadline == given.deadline

    @law
    async def test_500_changes_are_answered_each_in_its_place(self, stage: Stage) -> None:
        """Of 500 changes in any order the ones in the middle are refused, and no neighbour with them.

        If it fails: one refused change rolls back the batch, or answers come in the order of the ids.
        """
        store = await stage.open()
        await store.add_tasks([task() for _ in range(500)])
        given = list((await claim(store)).tasks)
        given.reverse()
        changes = [settled(each, result=str(each.id).encode()) for each in given]
        changes[250] = changes[250].replace(run=7)
        changes[251] = changes[251].replace(worker="bob")

        answers = await store.change_tasks(changes)

        assert [each.id for each in answers] == [each.id for each in given]
        assert [place for place, each in enumerate(answers) if each.answer != "accepted"] == [250, 251]
        succeeded = await found(store, statuses=frozenset({TaskStatus.success}), limit=1000)
        assert len(succeeded) == 498
        assert (await look(store, given[3].id)).result == str(given[3].id).encode()

    @law
    async def test_a_task_that_does_not_exist_is_refused(self, stage: Stage) -> None:
        """A change of an unknown id is ``refused``, and its neighbours are carried out; none is answered by none.

        If it fails: a missing row is an error, or its answer is missing and shifts the others.
        """
        store = await stage.open()
        given = await started(store)

        answers = await store.change_tasks([settled(given).replace(id=given.id + 1), settled(given)])

        assert [(each.id, each.answer) for each in answers] == [
            (given.id + 1, "refused"),
            (given.id, "accepted"),
        ]
        assert list(await store.change_tasks([])) == []
