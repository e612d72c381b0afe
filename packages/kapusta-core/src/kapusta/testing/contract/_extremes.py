"""Laws of extremes: late instants, large ids, and durations of nothing or of everything."""
# ruff: noqa: S101 - a law asserts, and the number in a law is the claim

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from kapusta._clock import ZERO
from kapusta._crud import BaseCRUD
from kapusta._enums import TaskStatus
from kapusta._records import AddOutcome, Guard, StoredTask, UniqueKey, UniqueUntil

from .._examples import (
    HOUR,
    LEASE,
    SLACK,
    add,
    answer,
    changed,
    claim,
    claimed,
    found,
    look,
    near,
    reaped,
    renewed,
    request,
    settled,
    started,
    stored,
    task,
)
from .._law import law
from .._stage import Stage

EVER: Final = timedelta.max
LAST: Final = datetime.max.replace(tzinfo=UTC)
CENTURIES: Final = timedelta(days=365 * 300)
"""From the present on, they lead beyond 2255, where a float no longer tells microseconds of an epoch apart."""


async def _claimed_one(store: BaseCRUD, lease: timedelta) -> StoredTask:
    await store.add_tasks([task()])
    (given,) = (await store.claim_tasks(request(lease=lease))).tasks
    return given


class ExtremeLaws:
    """What holds at the ends of what a record can say."""

    @law
    async def test_instants_after_2255_are_kept_to_the_resolution(self, stage: Stage) -> None:
        """Etas in 2500, apart by the resolution, come back as they were; a deadline is exact centuries after a launch.

        If it fails: instants pass through a float; count microseconds in an integer.
        """
        store = await stage.open()
        resolution = store.capabilities.time_resolution
        eta = datetime(2500, 1, 2, 3, 4, 5, tzinfo=UTC)
        etas = [eta + place * resolution for place in range(4)]
        new = [task(eta=each, overdue_after=CENTURIES) for each in etas]
        await store.add_tasks(new)

        kept = [await look(store, each.id) for each in new]

        assert [each.eta for each in kept] == etas
        for each in kept:
            assert each.deadline is not None
            assert abs(each.deadline - each.created - CENTURIES) <= resolution

    @law
    async def test_after_2255_tasks_are_claimed_in_order_and_rescued_in_time(self, stage: Stage) -> None:
        """On a clock centuries ahead, etas apart by the resolution are claimed in order, and a lease ends in time.

        If it fails: the store's now, an eta or the end of a lease passes through a float or a 32-bit number.
        """
        stage.clock.shift(days=CENTURIES.days)
        store = await stage.open()
        eta = stage.clock.now() + timedelta(minutes=10)
        # One after the other they have greater ids, and are due earlier.
        new = [task(eta=eta + place * store.capabilities.time_resolution) for place in (3, 2, 1, 0)]
        await store.add_tasks(new)

        early = await claim(store)
        await stage.reach(store, minutes=11)
        given = (await claim(store)).tasks

        assert early.tasks == []
        assert early.next_due is not None
        assert abs(early.next_due - timedelta(minutes=10)) < SLACK
        assert [each.id for each in given] == [each.id for each in reversed(new)]
        assert near(given[0].created, eta - timedelta(minutes=10))
        assert near(given[0].lease_end, stage.clock.now() + LEASE)
        await stage.reach(store, minutes=41)
        assert await found(store, guards=frozenset({Guard.expired})) == [each.id for each in new]

    @law
    async def test_ids_past_2_to_the_53_are_told_apart(self, stage: Stage) -> None:
        """Neighbours just above 2**53 and just below 2**63 are launched, found, settled and deleted each by itself.

        If it fails: ids pass through a float or through JSON that reads numbers as floats.
        """
        store = await stage.open()
        ids = [2**53, 2**53 + 1, 2**53 + 2, 2**53 + 3, 2**63 - 3, 2**63 - 2, 2**63 - 1]
        key = UniqueKey(key="only")

        assert await add(store, *(task(id=id) for id in ids[:1])) == [AddOutcome.new]
        assert await add(store, task(id=ids[1], unique=key)) == [AddOutcome.new]
        assert await add(store, *(task(id=id) for id in ids[2:])) == [AddOutcome.new] * 5
        (refused,) = await store.add_tasks([task(unique=key)])
        assert (refused.outcome, refused.id) == (AddOutcome.key_in_use, ids[1])
        assert await found(store) == ids
        for place, id in enumerate(ids):
            assert await found(store, ids=frozenset({id})) == [id]
            assert await found(store, after_id=id) == ids[place + 1 :]
        given = {each.id: each for each in (await claim(store)).tasks}
        assert sorted(given) == ids
        assert (await renewed(store, given[ids[1]])).id == ids[1]
        assert await answer(store, settled(given[ids[1]])) == "accepted"
        assert await found(store, statuses=frozenset({TaskStatus.success})) == [ids[1]]
        assert await store.delete_tasks(ids) == 1
        assert await found(store) == [ids[0], *ids[2:]]

    @law
    async def test_the_longest_delay_ends_at_the_last_instant(self, stage: Stage) -> None:
        """A launch or a retry with ``delay=timedelta.max`` waits until the end of time, beside tasks that do not.

        If it fails: the store's now plus a duration overflows; cap it at ``datetime.max``.
        """
        store = await stage.open()
        waits = await stored(store, task(delay=EVER))
        given = await started(store)

        assert await answer(store, settled(given, status=TaskStatus.pending, delay=EVER)) == "accepted"
        later = task(delay=HOUR)
        await store.add_tasks([later])
        claims = await claim(store)

        assert near(waits.eta, LAST)
        assert near((await look(store, given.id)).eta, LAST)
        assert claims.tasks == []
        assert claims.next_due is not None
        assert abs(claims.next_due - HOUR) < SLACK
        await stage.reach(store, hours=2)
        assert await claimed(store) == [later.id]
        last = await claim(store)
        assert last.next_due is not None
        assert abs(last.next_due - (LAST - last.now)) < SLACK

    @law
    async def test_the_longest_deadline_is_the_last_instant(self, stage: Stage) -> None:
        """With ``overdue_after=timedelta.max`` a task can be claimed centuries later, after a new life too.

        If it fails: the deadline overflows, and is in the past or missing.
        """
        store = await stage.open()
        new = await stored(store, task(overdue_after=EVER))
        assert near(new.deadline, LAST)
        again = changed(new, Guard.resting, status=TaskStatus.pending, raise_run=True, overdue_after=EVER)

        assert await answer(store, again) == "accepted"
        stage.clock.shift(days=CENTURIES.days)

        assert near((await look(store, new.id)).deadline, LAST)
        assert await found(store, guards=frozenset({Guard.overdue})) == []
        assert await claimed(store) == [new.id]

    @law
    async def test_a_deadline_after_no_time_is_there_at_once(self, stage: Stage) -> None:
        """With ``overdue_after`` of zero a task is overdue from its launch on: it is never claimed.

        If it fails: zero is read as "no deadline".
        """
        store = await stage.open()
        new = await stored(store, task(overdue_after=ZERO))
        fresh = await stored(store, task())
        anew = changed(fresh, Guard.resting, status=TaskStatus.pending, raise_run=True, overdue_after=ZERO)

        assert await answer(store, anew) == "accepted"

        assert new.deadline == new.created
        assert await claimed(store) == []
        assert await found(store, guards=frozenset({Guard.overdue})) == [new.id, fresh.id]
        assert await answer(store, changed(new, Guard.overdue, status=TaskStatus.overdue)) == "accepted"

    @law
    async def test_the_longest_lease_never_expires(self, stage: Stage) -> None:
        """A claim or a renewal for ``timedelta.max`` is kept to the end of time, and its neighbour is rescued.

        If it fails: the end of a lease, or that plus a third of the lease, overflows.
        """
        store = await stage.open()
        forever = (await _claimed_one(store, EVER)).id
        extended = await _claimed_one(store, LEASE)
        usual = await _claimed_one(store, LEASE)

        assert (await renewed(store, extended, lease=EVER)).answer == "renewed"
        await stage.reach(store, minutes=41)

        assert near((await look(store, forever)).lease_end, LAST)
        assert near((await look(store, extended.id)).lease_end, LAST)
        assert await found(store, guards=frozenset({Guard.expired})) == [usual.id]
        assert await answer(store, reaped(extended)) == "refused"
        assert await answer(store, reaped(usual)) == "accepted"
        assert await answer(store, settled(extended)) == "accepted"

    @law
    async def test_the_shortest_lease_can_be_renewed_until_it_is_rescued(self, stage: Stage) -> None:
        """A lease of a microsecond ends at once; its worker can renew it while no other worker took the task.

        If it fails: a third of so short a lease is rounded up, or a lease of less than a second to zero.
        """
        store = await stage.open()
        given = await _claimed_one(store, timedelta(microseconds=1))
        await stage.reach(store, minutes=1)

        expired = await found(store, guards=frozenset({Guard.expired}))
        again = await renewed(store, given, lease=LEASE)

        assert expired == [given.id]
        assert again.answer == "renewed"
        assert await found(store, guards=frozenset({Guard.expired})) == []

    @law
    async def test_the_longest_period_never_ends(self, stage: Stage) -> None:
        """A key for ``timedelta.max`` is in use centuries later.

        If it fails: the end of the period overflows.
        """
        store = await stage.open()
        key = UniqueKey(key="only", until=UniqueUntil.period, period=EVER)
        await store.add_tasks([task(unique=key)])

        stage.clock.shift(days=CENTURIES.days)

        assert await add(store, task(unique=key)) == [AddOutcome.key_in_use]

    @law
    async def test_a_period_of_no_time_is_over_at_once(self, stage: Stage) -> None:
        """A key for a period of zero is free for the next launch, though its task waits.

        If it fails: zero is read as "no end".
        """
        store = await stage.open()
        key = UniqueKey(key="only", until=UniqueUntil.period, period=ZERO)

        first = await add(store, task(unique=key))
        second = await add(store, task(unique=key))

        assert (first, second) == ([AddOutcome.new], [AddOutcome.new])
