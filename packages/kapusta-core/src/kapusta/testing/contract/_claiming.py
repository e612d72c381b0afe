"""Laws of ``claim_tasks``: what may be claimed, and what a claim writes."""
# ruff: noqa: S101 - a law asserts, and the number in a law is the claim

from __future__ import annotations

from datetime import timedelta

from kapusta._enums import TaskStatus
from kapusta._records import Guard

from .._examples import (
    ASYNC,
    HOUR,
    LEASE,
    SYNC,
    THREAD,
    answer,
    changed,
    claim,
    claimed,
    look,
    near,
    reclaimed,
    settled,
    started,
    stored,
    task,
)
from .._law import law
from .._stage import Stage


class ClaimingLaws:
    """What ``claim_tasks`` may take."""

    @law
    async def test_a_claim_starts_a_due_task(self, stage: Stage) -> None:
        """A claimed task is ``started``, in its first run, by that worker, from the store's now.

        If it fails: compare what the claim writes with the specification, field by field.
        """
        store = await stage.open()
        await store.add_tasks([task()])

        claims = await claim(store, "ann")

        (given,) = claims.tasks
        assert (given.status, given.run, given.worker) == (TaskStatus.started, 1, "ann")
        assert given.started == claims.now

    @law
    async def test_a_claim_begins_a_lease(self, stage: Stage) -> None:
        """``lease`` is the request's, and ``lease_end`` the store's now plus it.

        If it fails: the lease is counted from the eta, from ``created``, or in other units.
        """
        store = await stage.open()
        await store.add_tasks([task()])
        stage.clock.shift(hours=2)

        claims = await claim(store, lease=LEASE)

        (given,) = claims.tasks
        assert given.lease == LEASE
        assert given.lease_end == claims.now + LEASE

    @law
    async def test_a_claim_leaves_all_else_as_it_was(self, stage: Stage) -> None:
        """A claim writes the fields of the claim; contents, counters and what earlier runs left stay.

        If it fails: a claim resets what is not its own, or answers from before its own write.
        """
        store = await stage.open()
        first = await started(store, task(payload=b"[1]", priority=3, overdue_after=timedelta(days=1)))
        retry = settled(first, status=TaskStatus.pending, failures=2, crashes=1, interruptions=4)
        await store.change_tasks([retry.replace(result=b"r", error="boom", reason="tried")])
        waiting = await look(store, first.id)

        stage.clock.shift(minutes=5)
        claims = await claim(store, "bob")

        assert list(claims.tasks) == [
            waiting.replace(
                status=TaskStatus.started,
                run=2,
                worker="bob",
                lease=LEASE,
                lease_end=claims.now + LEASE,
                started=claims.now,
            )
        ]

    @law
    async def test_a_claim_answers_what_is_stored(self, stage: Stage) -> None:
        """What a claim answers is what another handle finds.

        If it fails: the answer is built from the request instead of the row, or the write is not yet visible.
        """
        store, other = await stage.open_all(2)

        given = await started(store)

        assert await look(other, given.id) == given

    @law
    async def test_every_claim_raises_the_run(self, stage: Stage) -> None:
        """The second claim of a task is run 2, even by the same worker.

        If it fails: the fencing token is set instead of counted.
        """
        store = await stage.open()
        first = await started(store)
        await store.change_tasks([settled(first, status=TaskStatus.pending)])

        second = await reclaimed(store, "ann")

        assert (first.run, second.run) == (1, 2)

    @law
    async def test_a_claim_takes_back_an_old_request_to_cancel(self, stage: Stage) -> None:
        """A request to cancel that was meant for an earlier run does not reach the next one.

        If it fails: the claim leaves ``cancel_requested`` as it was.
        """
        store = await stage.open()
        kept = await stored(store, task())
        await store.change_tasks([changed(kept, Guard.resting, cancel_requested=True)])

        given = await reclaimed(store, "ann")

        assert given.cancel_requested is False

    @law
    async def test_a_claimed_task_is_not_claimed_again(self, stage: Stage) -> None:
        """While a task is started nobody is given it, not even long after its lease ended.

        If it fails: the claim takes expired tasks by itself; that is for ``change_tasks`` to decide.
        """
        store, other = await stage.open_all(2)
        await started(store)

        at_once = await claimed(other, "bob")
        stage.clock.shift(days=1)

        assert at_once == []
        assert await claimed(other, "bob") == []

    @law
    async def test_only_pending_tasks_are_claimed(self, stage: Stage) -> None:
        """Tasks that ended, are held or were cancelled stay where they are.

        If it fails: the claim asks for what a task is not, instead of ``pending``.
        """
        store = await stage.open()
        for status in TaskStatus:
            if status not in {TaskStatus.pending, TaskStatus.started}:
                kept = await stored(store, task())
                await store.change_tasks([changed(kept, Guard.resting, status=status)])

        assert await claimed(store) == []

    @law
    async def test_a_task_that_was_passed_over_can_still_be_cancelled(self, stage: Stage) -> None:
        """A due task for which there was no slot is not claimed after it was cancelled.

        If it fails: what a claim has seen as due is kept in an index that other operations do not know.
        """
        store = await stage.open()
        first, second = task(), task()
        await store.add_tasks([first, second])
        given = await claimed(store, slots={SYNC: 1})
        waiting = await look(store, second.id)

        await store.change_tasks([changed(waiting, Guard.resting, status=TaskStatus.cancelled)])

        assert given == [first.id]
        assert await claimed(store) == []

    @law
    async def test_a_task_that_was_passed_over_can_be_put_off(self, stage: Stage) -> None:
        """A due task for which there was no slot, and that got a later eta since, waits for that one.

        If it fails: what a claim has seen as due stays due.
        """
        store = await stage.open()
        first, second = task(), task()
        await store.add_tasks([first, second])
        given = await claimed(store, slots={SYNC: 1})
        waiting = await look(store, second.id)

        await store.change_tasks([changed(waiting, Guard.resting, status=TaskStatus.pending, delay=HOUR)])

        assert given == [first.id]
        assert await claimed(store) == []
        stage.clock.shift(hours=2)
        assert await claimed(store) == [second.id]

    @law
    async def test_a_task_is_not_claimed_before_its_eta(self, stage: Stage) -> None:
        """A task waits for its eta, and can be claimed at that very instant.

        If it fails: the eta is compared with a clock that is not the store's, or with the wrong sign.
        """
        store = await stage.open()
        new = task(delay=HOUR)
        await store.add_tasks([new])
        stage.clock.shift(minutes=55)
        before = await claimed(store)

        await stage.reach(store, minutes=5)

        assert before == []
        assert await claimed(store) == [new.id]

    @law
    async def test_a_task_is_never_claimed_at_or_after_its_deadline(self, stage: Stage) -> None:
        """From its deadline on a task cannot be claimed; a moment that is minutes earlier, it can.

        If it fails: the claim does not look at the deadline, or lets the very instant pass.
        """
        store = await stage.open()
        in_time, late = task(overdue_after=HOUR), task(overdue_after=timedelta(minutes=50))
        await store.add_tasks([in_time, late])

        await stage.reach(store, minutes=50)

        assert await claimed(store) == [in_time.id]

    @law
    async def test_only_names_that_the_worker_knows_are_claimed(self, stage: Stage) -> None:
        """A task of an unknown name stays pending, for a worker that knows it.

        If it fails: the claim does not filter by name, or takes the task and puts it back changed.
        """
        store = await stage.open()
        known, unknown = task(name="known"), task(name="unknown")
        await store.add_tasks([unknown, known])
        before = await look(store, unknown.id)

        first = await claimed(store, names=frozenset({"known", "other"}))

        assert first == [known.id]
        assert await look(store, unknown.id) == before
        assert await claimed(store, names=frozenset()) == []

    @law
    async def test_names_are_compared_code_point_by_code_point(self, stage: Stage) -> None:
        """Names that differ in case, an accent or a trailing space are different names.

        If it fails: a collation decides what is equal.
        """
        store = await stage.open()
        names = ["send", "Send", "sénd", "send "]
        new = {name: task(name=name) for name in names}
        await store.add_tasks(list(new.values()))

        given = {name: await claimed(store, names=frozenset({name})) for name in names}

        assert given == {name: [new[name].id] for name in names}

    @law
    async def test_only_queues_that_the_worker_serves_are_claimed(self, stage: Stage) -> None:
        """With ``queues`` only those are served, by their exact names; an empty set is none. The rest stays.

        If it fails: an empty set is taken for "all", or a collation decides.
        """
        store = await stage.open()
        new = {queue: task(queue=queue) for queue in ["mail", "Mail", "mail ", "other"]}
        await store.add_tasks(list(new.values()))

        nothing = await claimed(store, queues=frozenset())
        given = await claimed(store, queues=frozenset({"mail", "other"}))

        assert nothing == []
        assert given == [new["mail"].id, new["other"].id]
        assert await claimed(store, "bob") == [new["Mail"].id, new["mail "].id]

    @law
    async def test_without_queues_a_worker_serves_all(self, stage: Stage) -> None:
        """``queues=None`` takes tasks of every queue.

        If it fails: ``None`` is taken for the default queue.
        """
        store = await stage.open()
        new = [task(), task(queue="mail"), task(queue="")]
        await store.add_tasks(new)

        assert await claimed(store, queues=None) == [each.id for each in new]

    @law
    async def test_of_each_mode_no_more_are_claimed_than_there_are_slots(self, stage: Stage) -> None:
        """Slots count per mode: room in one is no room in another, and a mode that is missing has none.

        If it fails: the limit is put on the whole, or a missing mode counts as unlimited.
        """
        store = await stage.open()
        sync, threads, coroutines = ([task(mode=mode) for _ in range(4)] for mode in (SYNC, THREAD, ASYNC))
        await store.add_tasks([*sync, *threads, *coroutines])

        given = await claimed(store, slots={SYNC: 1, THREAD: 3})

        assert given == [sync[0].id, *(each.id for each in threads[:3])]

    @law
    async def test_a_mode_without_slots_is_not_claimed(self, stage: Stage) -> None:
        """A mode with 0 slots is left alone, and a request without any slots gets nothing and no error.

        If it fails: 0 is taken for "no limit", or the statement for no modes is not valid.
        """
        store = await stage.open()
        thread = task(mode=THREAD)
        await store.add_tasks([task(mode=SYNC), thread])

        nothing = await claimed(store, slots={})
        given = await claimed(store, slots={SYNC: 0, THREAD: 5})

        assert nothing == []
        assert given == [thread.id]

    @law
    async def test_a_released_task_can_be_claimed_at_once(self, stage: Stage) -> None:
        """A task that was put back without a delay is due again, for anybody.

        If it fails: the eta is not set back to now, or an index still has the task where it was.
        """
        store, other = await stage.open_all(2)
        first = await started(store)

        released = await answer(store, settled(first, status=TaskStatus.pending))

        assert released == "accepted"
        assert await claimed(other, "bob") == [first.id]

    @law
    async def test_a_retry_waits_for_its_delay(self, stage: Stage) -> None:
        """A task that was put back with a delay is not claimed before the delay has passed.

        If it fails: the first eta is kept, or the delay is added to it instead of to now.
        """
        store = await stage.open()
        stage.clock.shift(hours=5)
        first = await started(store)
        await store.change_tasks([settled(first, status=TaskStatus.pending, delay=HOUR)])
        stage.clock.shift(minutes=55)
        before = await claimed(store)

        await stage.reach(store, minutes=5)

        assert before == []
        assert await claimed(store) == [first.id]

    @law
    async def test_a_new_life_can_be_claimed_though_the_old_deadline_has_passed(self, stage: Stage) -> None:
        """A task that was retried by hand after its deadline is claimed again.

        If it fails: the deadline of the first life is still looked at, in the row or in an index.
        """
        store = await stage.open()
        kept = await stored(store, task(overdue_after=HOUR))
        stage.clock.shift(hours=2)
        await claimed(store)
        await store.change_tasks([changed(kept, Guard.overdue, status=TaskStatus.overdue)])
        by_hand = changed(kept, Guard.resting, status=TaskStatus.pending, raise_run=True)

        assert await answer(store, by_hand) == "accepted"
        assert await claimed(store) == [kept.id]

    @law
    async def test_the_claims_now_is_the_stores(self, stage: Stage) -> None:
        """``Claims.now`` is the store's clock plus the clock's offset, aware and in UTC.

        If it fails: the offset is missing, or it is the process's time.
        """
        store = await stage.open()
        before = await stage.now(store)

        stage.clock.shift(hours=7)
        after = await stage.now(store)

        assert near(after, before + timedelta(hours=7))
        assert after.utcoffset() == timedelta(0)
