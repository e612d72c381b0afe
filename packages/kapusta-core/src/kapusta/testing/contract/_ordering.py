"""Laws of ``claim_tasks``: in which order tasks are taken, and when to ask again."""
# ruff: noqa: S101 - a law asserts, and the number in a law is the claim

from __future__ import annotations

from datetime import timedelta

from kapusta._enums import TaskStatus
from kapusta._records import Guard

from .._examples import (
    ASYNC,
    HOUR,
    SLACK,
    SYNC,
    THREAD,
    changed,
    claim,
    claimed,
    settled,
    started,
    stored,
    task,
)
from .._law import law
from .._stage import Stage


class OrderingLaws:
    """Which tasks ``claim_tasks`` prefers, and what ``next_due`` counts."""

    @law
    async def test_higher_priorities_are_claimed_first(self, stage: Stage) -> None:
        """The order is by priority, highest first, before eta and id.

        If it fails: the priority is sorted as text, the wrong way round, or after the eta.
        """
        store = await stage.open()
        now = await stage.now(store)
        low, high, negative = (
            task(priority=9, eta=now - 3 * HOUR),
            task(priority=10, eta=now - HOUR),
            task(priority=-10, eta=now - 5 * HOUR),
        )
        await store.add_tasks([low, negative, high])

        assert await claimed(store) == [high.id, low.id, negative.id]

    @law
    async def test_of_one_priority_the_earliest_eta_is_claimed_first(self, stage: Stage) -> None:
        """Within a priority the order is by eta, before id.

        If it fails: the order is by id or by ``created``.
        """
        store = await stage.open()
        now = await stage.now(store)
        late, early, middle = (task(eta=now - hours * HOUR) for hours in (1, 3, 2))
        await store.add_tasks([late, early, middle])

        assert await claimed(store) == [early.id, middle.id, late.id]

    @law
    async def test_of_one_eta_the_smallest_id_is_claimed_first(self, stage: Stage) -> None:
        """Within a priority and an eta the order is by id.

        If it fails: the order of insertion decides, or ids are sorted as text.
        """
        store = await stage.open()
        eta = (await stage.now(store)) - HOUR
        ids = [9, 100, 20]
        await store.add_tasks([task(id=id, eta=eta) for id in ids])

        assert await claimed(store) == [9, 20, 100]

    @law
    async def test_etas_apart_by_the_resolution_are_kept_apart(self, stage: Stage) -> None:
        """Two etas that are ``capabilities.time_resolution`` apart are in order, against that of the ids.

        If it fails: instants are stored more coarsely than declared.
        """
        store = await stage.open()
        eta = (await stage.now(store)).replace(microsecond=0) - HOUR
        later, earlier = task(eta=eta + store.capabilities.time_resolution), task(eta=eta)
        await store.add_tasks([later, earlier])

        assert await claimed(store) == [earlier.id, later.id]

    @law
    async def test_one_order_holds_across_modes_names_and_queues(self, stage: Stage) -> None:
        """What is claimed in several modes, names and queues comes back in one order.

        If it fails: the parts of the claim are put one after the other, not merged.
        """
        store = await stage.open()
        now = await stage.now(store)
        fields = [
            (SYNC, "a", "x"),
            (THREAD, "b", "y"),
            (SYNC, "b", "x"),
            (THREAD, "a", "y"),
            (SYNC, "a", "y"),
        ]
        new = [
            task(mode=mode, name=name, queue=queue, eta=now - hours * HOUR)
            for hours, (mode, name, queue) in enumerate(fields, start=1)
        ]
        await store.add_tasks(new)

        given = await claimed(store, names=frozenset({"a", "b"}))

        assert given == [each.id for each in reversed(new)]

    @law
    async def test_few_slots_go_to_the_first_in_order(self, stage: Stage) -> None:
        """With fewer slots than due tasks, those that are first in order are taken, across names and queues.

        So they are where hundreds of a lower priority have waited for longer.

        If it fails: the limit is applied before the order, or to each name or queue by itself.
        """
        store = await stage.open()
        names = frozenset("abcd")
        await store.add_tasks([task(name="a", priority=-1) for _ in range(300)])
        new = [task(name=name, queue=queue) for name in sorted(names) for queue in "wxyz"]
        new = [each.replace(priority=priority * 7 % 16) for priority, each in enumerate(new)]
        await store.add_tasks(new)

        given = await claimed(store, names=names, slots={SYNC: 5})

        assert given == [each.id for each in sorted(new, key=lambda each: -each.priority)[:5]]

    @law
    async def test_what_cannot_be_claimed_hides_nothing(self, stage: Stage) -> None:
        """Many tasks that this worker cannot take, and that stand in front, do not hide one that it can.

        If it fails: the limit is applied before a filter.
        """
        store = await stage.open()
        in_front = [
            *(task(name="unknown", priority=100) for _ in range(120)),
            *(task(queue="other", priority=100) for _ in range(120)),
            *(task(mode=THREAD, priority=100) for _ in range(120)),
            *(task(overdue_after=timedelta(minutes=5), priority=100) for _ in range(120)),
            *(task(delay=timedelta(days=1), priority=100) for _ in range(120)),
        ]
        last = task(priority=-100)
        await store.add_tasks([*in_front, last])
        stage.clock.shift(hours=1)

        assert await claimed(store, queues=frozenset({"default"}), slots={SYNC: 1}) == [last.id]

    @law
    async def test_many_are_claimed_in_order_and_no_more_than_asked(self, stage: Stage) -> None:
        """300 of 400 due tasks are given by a request for 300: the first ones, each once, and then the rest.

        If it fails: a join or a subquery that is evaluated twice gives more rows than its limit.
        """
        store = await stage.open()
        new = [task() for _ in range(400)]
        await store.add_tasks(new)

        first = await claimed(store, slots={SYNC: 300})
        second = await claimed(store, slots={SYNC: 300})

        assert first == [each.id for each in new[:300]]
        assert second == [each.id for each in new[300:]]

    @law
    async def test_next_due_is_how_long_until_the_next_eta(self, stage: Stage) -> None:
        """``next_due`` is the time from the claim's now to the earliest eta to come, exactly.

        If it fails: it is counted from another reading of the clock, or the latest is taken.
        """
        store = await stage.open()
        now = (await stage.now(store)).replace(microsecond=0)
        etas = [now + 3 * HOUR, now + 2 * HOUR, now + 5 * HOUR]
        await store.add_tasks(
            [task(eta=eta, mode=mode) for eta, mode in zip(etas, (SYNC, THREAD, SYNC), strict=True)]
        )

        claims = await claim(store)

        assert list(claims.tasks) == []
        assert claims.next_due == etas[1] - claims.now

    @law
    async def test_next_due_is_none_when_nothing_waits(self, stage: Stage) -> None:
        """Without tasks, and with tasks that do not wait for an eta any more, ``next_due`` is ``None``.

        If it fails: tasks that are started, ended or cancelled count as waiting.
        """
        store = await stage.open()
        empty = await claim(store)
        given = await started(store)
        cancelled = await stored(store, task(delay=HOUR))
        await store.change_tasks([changed(cancelled, Guard.resting, status=TaskStatus.cancelled)])
        running = await claim(store)
        await store.change_tasks([settled(given)])
        ended = await claim(store)

        assert (empty.next_due, running.next_due, ended.next_due) == (None, None, None)

    @law
    async def test_next_due_is_told_along_with_tasks(self, stage: Stage) -> None:
        """A claim that gives tasks tells the next eta as well, and at that eta the task is there.

        If it fails: it is asked for only when the claim comes back empty, or the claim takes more than it gives.
        """
        store = await stage.open()
        new, later = task(), task(delay=HOUR)
        await store.add_tasks([new, later])

        claims = await claim(store)
        stage.clock.shift(hours=2)

        assert [each.id for each in claims.tasks] == [new.id]
        assert claims.next_due is not None
        assert abs(claims.next_due - HOUR) < SLACK
        assert await claimed(store) == [later.id]

    @law
    async def test_a_due_task_that_was_not_taken_does_not_shorten_next_due(self, stage: Stage) -> None:
        """Due tasks beyond the slots, or past their deadline, leave ``next_due`` to those that are to come.

        If it fails: a worker whose slots are full asks again and again without a pause.
        """
        store = await stage.open()
        late = task(overdue_after=timedelta(minutes=5))
        await store.add_tasks([task(), task(), late, task(delay=2 * HOUR)])
        stage.clock.shift(hours=1)

        claims = await claim(store, slots={SYNC: 1})

        assert len(claims.tasks) == 1
        assert claims.next_due is not None
        assert abs(claims.next_due - HOUR) < SLACK

    @law
    async def test_a_task_that_the_worker_cannot_take_does_not_shorten_next_due(self, stage: Stage) -> None:
        """Unknown names, queues not served and modes without slots do not count.

        If it fails: ``next_due`` is asked for without the filters of the claim.
        """
        store = await stage.open()
        await store.add_tasks(
            [
                task(name="unknown", delay=timedelta(minutes=5)),
                task(queue="other", delay=timedelta(minutes=5)),
                task(mode=ASYNC, delay=timedelta(minutes=5)),
                task(mode=THREAD, delay=timedelta(minutes=5)),
                task(delay=HOUR),
            ]
        )

        claims = await claim(store, queues=frozenset({"default"}), slots={SYNC: 1, THREAD: 0})

        assert claims.next_due is not None
        assert abs(claims.next_due - HOUR) < SLACK

    @law
    async def test_a_task_that_will_be_overdue_when_due_does_not_count(self, stage: Stage) -> None:
        """A task whose deadline comes no later than its eta can never be taken, so nobody waits for it.

        If it fails: ``next_due`` does not look at the deadline.
        """
        store = await stage.open()
        await store.add_tasks(
            [task(delay=2 * HOUR, overdue_after=HOUR), task(delay=HOUR, overdue_after=HOUR)]
        )

        claims = await claim(store)

        assert claims.next_due is None
