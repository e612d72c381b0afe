"""Laws of ``find_tasks``: what fits a query, in the order of the ids."""
# ruff: noqa: S101, PLR2004 - a law asserts, and the number in a law is the claim

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from typing import Any, Final

from kapusta._crud import BaseCRUD
from kapusta._enums import FINAL, TaskExecutionMode, TaskStatus
from kapusta._records import Guard, TaskQuery

from .._examples import (
    HOUR,
    changed,
    claim,
    found,
    look,
    renewed,
    settled,
    started,
    stored,
    task,
)
from .._law import law
from .._stage import Stage

_NAMES: Final = [f"name {n}" for n in range(5)]
"""The names that a worker claims of thousands of tasks; the others stay pending."""
_ALL: Final = ()


async def _pages(store: BaseCRUD, **filters: Any) -> list[int]:
    """Find ids page by page, and after the last one once more."""
    ids: list[int] = []
    while page := await found(store, after_id=ids[-1] if ids else 0, limit=333, **filters):
        ids += page
    return ids


class FindingLaws:
    """What ``find_tasks`` finds."""

    @law
    async def test_tasks_are_found_in_the_order_of_their_ids(self, stage: Stage) -> None:
        """Without filters all tasks are found, by id, whatever the order in which they came.

        If it fails: there is no ``ORDER BY``, or ids are sorted as text.
        """
        store = await stage.open()
        await store.add_tasks([task(id=id) for id in (300, 20, 100, 3)])

        assert await found(store) == [3, 20, 100, 300]

    @law
    async def test_at_most_the_limit_is_found(self, stage: Stage) -> None:
        """The first ``limit`` ids are found, 100 unless said otherwise, with a filter and without.

        If it fails: the limit is applied before the order or the filters, or not at all.
        """
        store = await stage.open()
        new = [task(name=("even", "odd")[place % 2]) for place in range(220)]
        await store.add_tasks(new)
        ids = [each.id for each in new]

        assert await found(store) == ids[:100]
        assert await found(store, limit=3) == ids[:3]
        assert await found(store, limit=2, names=frozenset({"odd"})) == ids[1:4:2]
        assert await found(store, limit=2, ids=frozenset(ids[5:])) == ids[5:7]

    @law
    async def test_pages_by_the_last_id_leave_nothing_out(self, stage: Stage) -> None:
        """``after_id`` finds only greater ids, so page after page gives every task once.

        If it fails: the last id itself is found again, or a filter is forgotten on later pages.
        """
        store = await stage.open()
        new = [task(name=("even", "odd")[place % 2]) for place in range(50)]
        await store.add_tasks(new)

        pages = [0]
        while page := await found(store, names=frozenset({"even"}), after_id=pages[-1], limit=7):
            pages += page
            assert len(pages) <= 26

        assert pages[1:] == [each.id for each in new[::2]]
        assert await found(store, ids=frozenset(pages[1:4]), after_id=pages[2]) == [pages[3]]

    @law
    async def test_tasks_are_found_by_their_ids(self, stage: Stage) -> None:
        """Of 500 ids those that exist are found; an id that does not is no error.

        If it fails: a limit on the parameters of a statement.
        """
        store = await stage.open()
        first, second, third = task(), task(), task()
        await store.add_tasks([first, second, third])
        unknown = range(third.id + 1, third.id + 499)

        assert await found(store, ids=frozenset({third.id, first.id, *unknown})) == [first.id, third.id]

    @law
    async def test_tasks_are_found_by_status(self, stage: Stage) -> None:
        """Each status finds its tasks alone, and several find theirs together.

        If it fails: statuses are stored in one form and asked for in another.
        """
        store = await stage.open()
        ids = {}
        for status in TaskStatus:
            given = await started(store)
            ids[status] = given.id
            if status is not TaskStatus.started:
                await store.change_tasks([settled(given, status=status, delay=timedelta(days=1))])

        by_status = {status: await found(store, statuses=frozenset({status})) for status in TaskStatus}
        ended = await found(store, statuses=FINAL)

        assert by_status == {status: [id] for status, id in ids.items()}
        assert ended == sorted(ids[status] for status in FINAL)

    @law
    async def test_tasks_are_found_by_exact_name_and_queue(self, stage: Stage) -> None:
        """Names and queues are compared code point by code point.

        If it fails: a collation decides, or a wildcard does.
        """
        store = await stage.open()
        texts = ["send", "Send", "sénd", "send ", "s%"]
        new = [task(name=text, queue=text) for text in texts]
        await store.add_tasks(new)

        by_name = [await found(store, names=frozenset({text})) for text in texts]
        by_queue = [await found(store, queues=frozenset({text})) for text in texts]

        assert by_name == [[each.id] for each in new]
        assert by_queue == [[each.id] for each in new]

    @law
    async def test_all_filters_hold_together(self, stage: Stage) -> None:
        """A task is found if every given filter fits.

        If it fails: filters are joined by "or", or the last one replaces the others.
        """
        store = await stage.open()
        wanted = task(name="a", queue="x")
        other_name, other_queue, waits = (
            task(name="b", queue="x"),
            task(name="a", queue="y"),
            task(name="a", queue="x"),
        )
        await store.add_tasks([wanted, other_name, other_queue, waits])
        await store.change_tasks(
            [
                changed(await look(store, each.id), Guard.resting, status=TaskStatus.error)
                for each in (wanted, other_name, other_queue)
            ]
        )

        ids = await found(
            store,
            names=frozenset({"a"}),
            queues=frozenset({"x"}),
            statuses=frozenset({TaskStatus.error}),
            guards=frozenset({Guard.resting}),
        )

        assert ids == [wanted.id]

    @law
    async def test_an_empty_filter_finds_nothing(self, stage: Stage) -> None:
        """An empty set of ids, statuses, names, queues or guards fits no task.

        If it fails: an empty set is taken for "not given". Deleting what was found would then delete all.
        """
        store = await stage.open()
        await store.add_tasks([task()])

        for field in ("ids", "statuses", "names", "queues", "guards"):
            assert await found(store, **{field: frozenset()}) == [], field

    @law
    async def test_expired_tasks_are_found_when_they_can_be_rescued(self, stage: Stage) -> None:
        """The guard ``expired`` finds what a change under it would be accepted for, at the same instant.

        If it fails: the search and the change do not share one condition.
        """
        store = await stage.open()
        gone, ended = await started(store), await started(store)
        await store.change_tasks([settled(ended)])
        await store.add_tasks([task(delay=timedelta(days=1))])
        expired = frozenset({Guard.expired})
        stage.clock.shift(minutes=38)
        before = await found(store, guards=expired)
        alive = await started(store)

        await stage.reach(store, minutes=2)

        assert before == []
        assert await found(store, guards=expired) == [gone.id]
        await renewed(store, gone)
        assert await found(store, guards=expired) == []
        stage.clock.shift(days=1)
        assert await found(store, guards=expired) == [gone.id, alive.id]

    @law
    async def test_overdue_tasks_are_found_from_their_deadline_on(self, stage: Stage) -> None:
        """The guard ``overdue`` finds pending tasks whose deadline has come.

        If it fails: started tasks or tasks without a deadline are found, or the instant is left out.
        """
        store = await stage.open()
        await started(store, task(overdue_after=HOUR))
        late, later = task(overdue_after=HOUR, delay=timedelta(minutes=30)), task(overdue_after=2 * HOUR)
        await store.add_tasks([late, later, task()])
        overdue = frozenset({Guard.overdue})
        stage.clock.shift(minutes=55)
        before = await found(store, guards=overdue)

        await stage.reach(store, minutes=5)

        assert before == []
        assert await found(store, guards=overdue) == [late.id]

    @law
    async def test_a_deadline_that_moved_is_found_where_it_is_now(self, stage: Stage) -> None:
        """After another life was given, ``overdue`` follows the new deadline, or finds nothing without one.

        If it fails: the old deadline is still in an index.
        """
        store = await stage.open()
        longer, endless = (
            await stored(store, task(overdue_after=HOUR)),
            await stored(store, task(overdue_after=HOUR)),
        )
        by_hand = changed(longer, Guard.resting, status=TaskStatus.pending, raise_run=True)
        await store.change_tasks([by_hand.replace(overdue_after=3 * HOUR), by_hand.replace(id=endless.id)])
        overdue = frozenset({Guard.overdue})

        stage.clock.shift(hours=2)
        within = await found(store, guards=overdue)
        await stage.reach(store, hours=1)

        assert within == []
        assert await found(store, guards=overdue) == [longer.id]

    @law
    async def test_resting_and_running_tasks_are_found(self, stage: Stage) -> None:
        """``running`` finds what is started, ``resting`` all the rest, and ``waiting`` what of it has not ended.

        If it fails: compare with the same guards of a change.
        """
        store = await stage.open()
        ended, running = await started(store), await started(store)
        await store.change_tasks([settled(ended)])
        waiting = await stored(store, task())

        assert await found(store, guards=frozenset({Guard.running})) == [running.id]
        assert await found(store, guards=frozenset({Guard.waiting})) == [waiting.id]
        assert await found(store, guards=frozenset({Guard.resting})) == [ended.id, waiting.id]

    @law
    async def test_of_several_guards_one_has_to_hold(self, stage: Stage) -> None:
        """Guards are alternatives, in one order of ids.

        If it fails: guards are joined by "and", or the parts come one after the other.
        """
        store = await stage.open()
        late = await stored(store, task(overdue_after=HOUR, delay=timedelta(minutes=1)))
        gone = await started(store)
        late_too = await stored(store, task(overdue_after=HOUR))
        await store.add_tasks([task()])

        stage.clock.shift(hours=2)

        both = frozenset({Guard.expired, Guard.overdue})
        assert await found(store, guards=both) == [late.id, gone.id, late_too.id]
        assert await found(store, guards=both, after_id=late.id, limit=1) == [gone.id]
        assert len(await found(store, guards=frozenset({Guard.running, Guard.resting}))) == 4

    @law
    async def test_tasks_that_finished_before_an_instant_are_found(self, stage: Stage) -> None:
        """``finished_before`` finds tasks that reached a final status before it, and no others.

        If it fails: tasks that are not finished count as finished long ago, or the instant itself counts.
        """
        store = await stage.open()
        old = await started(store)
        await store.change_tasks([settled(old)])
        stage.clock.shift(hours=2)
        new, held = await started(store), await started(store)
        await store.change_tasks([settled(new), settled(held, status=TaskStatus.held)])
        await store.add_tasks([task()])
        ended = [(await look(store, each.id)).finished for each in (old, new)]
        assert ended[0] is not None
        assert ended[1] is not None

        assert await found(store, finished_before=ended[0]) == []
        assert await found(store, finished_before=ended[1]) == [old.id]
        assert await found(store, finished_before=ended[1] + HOUR) == [old.id, new.id]

    @law
    async def test_a_retried_task_has_not_finished(self, stage: Stage) -> None:
        """A task that was retried by hand is not found as finished any more.

        If it fails: retention would delete a task that waits to run.
        """
        store = await stage.open()
        given = await started(store)
        await store.change_tasks([settled(given, status=TaskStatus.error)])
        await store.change_tasks([changed(given, Guard.resting, status=TaskStatus.pending, raise_run=True)])

        assert await found(store, finished_before=(await stage.now(store)) + HOUR) == []

    @law
    async def test_a_find_changes_nothing(self, stage: Stage) -> None:
        """Finding expired and overdue tasks leaves them for others to find, and finds the same again.

        If it fails: a search consumes what it reads.
        """
        store = await stage.open()
        await started(store)
        await store.add_tasks([task(overdue_after=HOUR)])
        stage.clock.shift(hours=2)
        query = TaskQuery(guards=frozenset({Guard.expired, Guard.overdue}))

        first, second = [list(await store.find_tasks(query)) for _ in range(2)]

        assert len(first) == 2
        assert first == second

    @law
    async def test_pages_over_thousands_of_mixed_tasks_lose_none(self, stage: Stage) -> None:
        """Of 3,000 tasks of mixed status, name and queue, page after page gives each that fits once, in id order.

        If it fails: the limit is applied before a filter, or an index gives another order than the ids'.
        """
        store = await stage.open()
        modes = list(TaskExecutionMode)
        new = [
            task(name=f"name {n % 7}", queue=f"queue {n % 3}", mode=modes[n % len(modes)], priority=n % 5)
            for n in range(3000)
        ]
        for begin in range(0, 3000, 500):
            await store.add_tasks(new[begin : begin + 500])
        given = {each.id: each for each in (await claim(store, names=frozenset(_NAMES))).tasks}
        statuses = {each.id: TaskStatus.pending for each in new}
        statuses.update(dict.fromkeys(given, TaskStatus.started))
        ends = [*sorted(FINAL), TaskStatus.started, TaskStatus.started]
        changes = []
        for place, id in enumerate(sorted(given)):
            outermost = place < 10 or place >= len(given) - 10
            end = TaskStatus.held if outermost else ends[place % len(ends)]
            if end is not TaskStatus.started:
                changes.append(settled(given[id], status=end))
                statuses[id] = end
        await store.change_tasks(changes)

        def fitting(
            *wanted: TaskStatus, names: Iterable[str] = _ALL, queues: Iterable[str] = _ALL
        ) -> list[int]:
            return [
                each.id
                for each in new
                if statuses[each.id] in wanted
                and (names is _ALL or each.name in names)
                and (queues is _ALL or each.queue in queues)
            ]

        resting = [status for status in TaskStatus if status is not TaskStatus.started]
        assert await _pages(store) == [each.id for each in new]
        for status in TaskStatus:
            assert await _pages(store, statuses=frozenset({status})) == fitting(status), status
        assert await _pages(store, statuses=FINAL) == fitting(*FINAL)
        assert await _pages(store, guards=frozenset({Guard.running})) == fitting(TaskStatus.started)
        assert await _pages(store, guards=frozenset({Guard.resting}), names=frozenset({"name 2"})) == fitting(
            *resting, names=["name 2"]
        )
        assert await _pages(store, statuses=FINAL, queues=frozenset({"queue 1"})) == fitting(
            *FINAL, queues=["queue 1"]
        )
