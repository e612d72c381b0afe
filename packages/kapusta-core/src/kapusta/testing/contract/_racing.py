"""Laws of concurrency: of those that want the same at once, exactly one gets it."""
# ruff: noqa: S101 - a law asserts, and the number in a law is the claim

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import timedelta

from kapusta._crud import BaseCRUD
from kapusta._enums import TaskStatus
from kapusta._records import AddOutcome, Guard, NewTask, TaskQuery, UniqueKey

from .._examples import (
    SYNC,
    add,
    answer,
    changed,
    claim,
    claimed,
    found,
    look,
    reaped,
    renewed,
    settled,
    started,
    stored,
    task,
)
from .._law import law
from .._stage import Stage, on_twin


async def _drain(store: BaseCRUD, worker: str) -> list[int]:
    """Claim a few tasks at a time until there are none, and give all that was claimed."""
    ids: list[int] = []
    while batch := await claimed(store, worker, slots={SYNC: 3}):
        ids += batch
    return ids


class RacingLaws:
    """What holds when several handles act at once."""

    @law
    async def test_exactly_one_of_many_claims_wins(self, stage: Stage) -> None:
        """Twelve claims at once, through four handles, for one task: one of them gets it.

        If it fails: the claim reads first and writes later, without a lock or a condition.
        """
        handles = await stage.open_all(4)
        new = task()
        await handles[0].add_tasks([new])

        claims = await asyncio.gather(
            *(claimed(handles[place % 4], f"worker-{place}") for place in range(12)),
        )

        assert sorted(claims) == [[]] * 11 + [[new.id]]
        assert (await look(handles[0], new.id)).run == 1

    @law
    async def test_many_claimers_share_the_tasks(self, stage: Stage) -> None:
        """Workers on four handles that drain 200 tasks a few at a time claim each exactly once, and all.

        If it fails: a task is given twice (no lock), or passed over for good (a lock that is taken for a claim).
        """
        handles = await stage.open_all(4)
        new = [task() for _ in range(200)]
        await handles[0].add_tasks(new)

        drained = await asyncio.gather(*(_drain(handle, f"w{place}") for place, handle in enumerate(handles)))

        # Whoever met only rows that another was just claiming was told "none": the rest is still to be had.
        rest = await _drain(handles[0], "last")
        assert Counter(id for ids in [*drained, rest] for id in ids) == Counter(each.id for each in new)

    @law
    async def test_claimers_in_several_threads_share_the_tasks(self, stage: Stage) -> None:
        """Twins in three threads, each on its own loop, claim each of 150 tasks exactly once.

        If it fails: the storage is not safe from threads, or twins share a connection.
        """
        store = await stage.open()
        new = [task() for _ in range(150)]
        await store.add_tasks(new)

        drained = await asyncio.gather(
            *(on_twin(store, lambda twin, name=name: _drain(twin, name)) for name in ("a", "b", "c"))  # type: ignore[misc]  # a bound default
        )

        rest = await _drain(store, "last")
        assert Counter(id for ids in [*drained, rest] for id in ids) == Counter(each.id for each in new)

    @law
    async def test_launches_from_several_threads_are_all_stored(self, stage: Stage) -> None:
        """Twins in four threads store 30 tasks each, one by one, while this handle looks on; 120 are there.

        If it fails: the storage is not safe from threads, or busy is answered as an error instead of waited for.
        """
        store = await stage.open()
        new = [task() for _ in range(120)]
        batches = [new[place::4] for place in range(4)]

        async def launch(twin: BaseCRUD, batch: list[NewTask]) -> None:
            for one in batch:
                await twin.add_tasks([one])
                await found(twin, limit=5)

        await asyncio.gather(
            *(on_twin(store, lambda twin, batch=batch: launch(twin, batch)) for batch in batches)  # type: ignore[misc]  # a bound default
        )

        assert await found(store, limit=1000) == [each.id for each in new]

    @law
    async def test_one_launch_repeated_at_once_is_stored_once(self, stage: Stage) -> None:
        """Of twelve equal launches at once one is ``new`` and the others ``again``.

        If it fails: who comes second gets an error of the engine about a duplicate key.
        """
        handles = await stage.open_all(4)
        new = task()

        outcomes = await asyncio.gather(*(add(handles[place % 4], new) for place in range(12)))

        assert sorted(outcomes) == [[AddOutcome.again]] * 11 + [[AddOutcome.new]]
        assert await found(handles[0]) == [new.id]

    @law
    async def test_one_id_drawn_twice_at_once_goes_to_one_launch(self, stage: Stage) -> None:
        """Of eight launches that drew one id, under tokens of their own, one is stored, whole.

        If it fails: the last one writes over the first.
        """
        handles = await stage.open_all(4)
        first = task()
        rivals = [first.replace(token=f"rival-{n}", payload=str(n).encode()) for n in range(8)]

        outcomes = await asyncio.gather(*(add(handles[n % 4], rival) for n, rival in enumerate(rivals)))

        assert sorted(outcomes) == [[AddOutcome.id_in_use]] * 7 + [[AddOutcome.new]]
        winner = rivals[outcomes.index([AddOutcome.new])]
        kept = await look(handles[0], first.id)
        assert (kept.token, kept.payload) == (winner.token, winner.payload)

    @law
    async def test_one_unique_key_wanted_at_once_goes_to_one_task(self, stage: Stage) -> None:
        """Of twelve launches with one key at once one is stored, and all others are told its id.

        If it fails: the key is asked for and taken in two steps, or the answer names a task that is not there.
        """
        handles = await stage.open_all(4)
        rivals = [task(unique=UniqueKey(key="one")) for _ in range(12)]

        answers = await asyncio.gather(
            *(handles[place % 4].add_tasks([rival]) for place, rival in enumerate(rivals)),
        )

        (winner,) = await found(handles[0])
        assert sorted(each.outcome for (each,) in answers) == [AddOutcome.key_in_use] * 11 + [AddOutcome.new]
        assert {each.id for (each,) in answers} == {winner}

    @law
    async def test_a_late_settlement_and_a_rescue_at_once_are_one(self, stage: Stage) -> None:
        """Of a settlement and a rescue of the same run one is accepted, and the task is what that one says.

        If it fails: one of them decides on what it has read before, not on what it locks.
        """
        store, other = await stage.open_all(2)
        for turn in range(10):
            given = await started(store)
            stage.clock.shift(minutes=45)
            rescue = reaped(given, delay=timedelta(days=1000))
            if turn % 2:
                by_holder, by_reaper = await asyncio.gather(
                    answer(store, settled(given)), answer(other, rescue)
                )
            else:
                by_reaper, by_holder = await asyncio.gather(
                    answer(other, rescue), answer(store, settled(given))
                )

            kept = await look(store, given.id)
            assert {by_holder, by_reaper} == {"accepted", "refused"}
            assert kept.status is (TaskStatus.success if by_holder == "accepted" else TaskStatus.pending)

    @law
    async def test_a_rescue_that_was_decided_too_late_changes_nothing(self, stage: Stage) -> None:
        """A lost lease is seen; before the rescue is written its task ends, is put off, held, given away or deleted.

        If it fails: a rescue trusts what it has read, or asks of a row that is started no more when its lease ended.
        """
        store, other = await stage.open_all(2)
        decided = [await started(store) for _ in range(7)]
        *ended, retried, deleted, alive = decided
        put_off = timedelta(days=9)
        stage.clock.shift(minutes=45)

        statuses = [TaskStatus.success, TaskStatus.pending, TaskStatus.held, TaskStatus.cancelled]
        for each, status in zip(ended, statuses, strict=True):
            await answer(store, settled(each, status=status, delay=put_off))
        await answer(store, settled(retried, status=TaskStatus.held))
        another_life = changed(
            retried, Guard.resting, status=TaskStatus.pending, delay=put_off, raise_run=True
        )
        await answer(store, another_life)
        await answer(store, settled(deleted))
        await store.delete_tasks([deleted.id])
        await renewed(store, alive)
        before = await store.find_tasks(TaskQuery())
        answers = [each.answer for each in await other.change_tasks([reaped(each) for each in decided])]

        assert answers == ["refused"] * 7
        assert await store.find_tasks(TaskQuery()) == before

    @law
    async def test_a_settlement_repeated_at_once_is_accepted_once(self, stage: Stage) -> None:
        """Of six equal settlements at once one is ``accepted`` and the others are ``already``.

        If it fails: a second outcome is written over the first, or the repeat is refused.
        """
        handles = await stage.open_all(3)
        given = await started(handles[0])

        answers = await asyncio.gather(
            *(answer(handles[n % 3], settled(given, result=str(n).encode())) for n in range(6)),
        )

        assert sorted(answers) == ["accepted", *["already"] * 5]
        winner = [each.value for each in answers].index("accepted")
        assert (await look(handles[0], given.id)).result == str(winner).encode()

    @law
    async def test_a_claim_and_a_cancel_at_once_are_one(self, stage: Stage) -> None:
        """Of a claim and a cancel of one waiting task one succeeds.

        If it fails: a task that was cancelled runs, or one that runs counts as cancelled.
        """
        store, other = await stage.open_all(2)
        for turn in range(10):
            kept = await stored(store, task())
            cancel = changed(kept, Guard.resting, status=TaskStatus.cancelled)
            if turn % 2:
                given, cancelled = await asyncio.gather(claimed(store), answer(other, cancel))
            else:
                cancelled, given = await asyncio.gather(answer(other, cancel), claimed(store))

            status = (await look(store, kept.id)).status
            assert (given, cancelled, status) in [
                ([kept.id], "refused", TaskStatus.started),
                ([], "accepted", TaskStatus.cancelled),
            ]

    @law
    async def test_a_late_renewal_and_a_rescue_at_once_are_one(self, stage: Stage) -> None:
        """Of a renewal and a rescue of an expired lease one succeeds: the task is held, or it is rescued.

        If it fails: a worker believes in a lease that another has ended.
        """
        store, other = await stage.open_all(2)
        for turn in range(10):
            given = await started(store)
            stage.clock.shift(minutes=45)
            rescue = reaped(given, status=TaskStatus.held)
            if turn % 2:
                kept, rescued = await asyncio.gather(renewed(store, given), answer(other, rescue))
            else:
                rescued, kept = await asyncio.gather(answer(other, rescue), renewed(store, given))

            assert (kept.answer, rescued) in [
                ("renewed", "refused"),
                ("busy", "accepted"),
                ("lost", "accepted"),
            ]

    @law
    async def test_batches_in_opposite_order_do_not_block_each_other(self, stage: Stage) -> None:
        """Two handles that change the same 60 tasks, one up and one down, both come to an end; each once.

        If it fails: rows are locked in the order given. Lock them in id order.
        """
        store, other = await stage.open_all(2)
        for _ in range(5):
            await store.add_tasks([task() for _ in range(60)])
            given = list((await claim(store)).tasks)

            up, down = await asyncio.gather(
                store.change_tasks([settled(each) for each in given]),
                other.change_tasks([settled(each) for each in reversed(given)]),
            )

            pairs = zip(up, reversed(down), strict=True)
            assert [sorted((one.answer, two.answer)) for one, two in pairs] == [["accepted", "already"]] * 60

    @law
    async def test_a_handle_serves_many_at_once(self, stage: Stage) -> None:
        """Forty asyncio tasks that use one handle at the same time are all served, each with its own answer.

        If it fails: a connection is shared without a lock, or two waiters get each other's answer.
        """
        store = await stage.open()

        async def live(number: int) -> bool:
            new = task(name=f"name-{number}")
            await store.add_tasks([new])
            (given,) = (await claim(store, f"w{number}", names=frozenset({new.name}))).tasks
            settling = await answer(store, settled(given, result=new.name.encode()))
            (kept,) = await store.find_tasks(TaskQuery(names=frozenset({new.name})))
            return (given.id, settling, kept.result) == (new.id, "accepted", new.name.encode())

        assert all(await asyncio.gather(*(live(number) for number in range(40))))
