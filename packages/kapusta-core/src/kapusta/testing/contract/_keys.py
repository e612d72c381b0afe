"""Laws of unique keys: who uses one, and for how long."""
# ruff: noqa: S101 - a law asserts, and the number in a law is the claim

from __future__ import annotations

from datetime import timedelta

from kapusta._crud import BaseCRUD
from kapusta._enums import FINAL, TaskStatus
from kapusta._records import AddOutcome, Guard, NewTask, UniqueKey, UniqueUntil

from .._examples import HOUR, add, answer, changed, claim, found, look, reaped, settled, started, stored, task
from .._law import law
from .._stage import Stage

KEY = "daily-report"


def keyed(
    key: str = KEY, until: UniqueUntil = UniqueUntil.finished, period: timedelta | None = None
) -> NewTask:
    """A task with a unique key."""
    return task(unique=UniqueKey(key=key, until=until, period=period))


async def user_of(store: BaseCRUD, key: str = KEY) -> int | None:
    """Which task uses a key: asked by a launch that is deleted again if it found the key free."""
    probe = keyed(key)
    (added,) = await store.add_tasks([probe])
    if added.outcome is AddOutcome.key_in_use:
        return added.id
    found = await look(store, probe.id)
    await store.change_tasks([changed(found, Guard.resting, status=TaskStatus.cancelled)])
    await store.delete_tasks([probe.id])
    return None


class UniqueKeyLaws:
    """What ``add_tasks`` makes of unique keys."""

    @law
    async def test_a_key_in_use_answers_the_task_that_uses_it(self, stage: Stage) -> None:
        """A second launch with a key is not stored, and is told which task uses the key.

        If it fails: the answer's id is that of the refused launch, or the row was stored all the same.
        """
        store = await stage.open()
        first = await stored(store, keyed())

        (added,) = await store.add_tasks([keyed()])

        assert (added.outcome, added.id) == (AddOutcome.key_in_use, first.id)
        assert await found(store) == [first.id]

    @law
    async def test_within_one_call_the_first_with_a_key_wins(self, stage: Stage) -> None:
        """Of two tasks with one key in one call, the first given is stored, even with the greater id.

        If it fails: the call is sorted by id before its keys are looked at, or looked at as a whole.
        """
        store = await stage.open()
        lower, middle, upper = keyed(), task(), keyed()

        answers = await store.add_tasks([upper, middle, lower])

        assert [(each.outcome, each.id) for each in answers] == [
            (AddOutcome.new, upper.id),
            (AddOutcome.new, middle.id),
            (AddOutcome.key_in_use, upper.id),
        ]
        assert await found(store) == [middle.id, upper.id]

    @law
    async def test_tasks_without_a_key_never_collide(self, stage: Stage) -> None:
        """Keys are compared only where there are any, and the empty text is a key like others.

        If it fails: a missing key is stored as the empty text.
        """
        store = await stage.open()

        outcomes = await add(store, task(), task(), keyed(""), keyed(""))

        assert outcomes == [AddOutcome.new, AddOutcome.new, AddOutcome.new, AddOutcome.key_in_use]

    @law
    async def test_keys_are_compared_code_point_by_code_point(self, stage: Stage) -> None:
        """Keys that differ in case, an accent, its encoding, a trailing space or their last character are two.

        If it fails: a collation decides, or a long key is cut off.
        """
        store = await stage.open()
        long = "k" * 2000
        keys = [
            "order-7",
            "Order-7",
            "örder-7",
            "o\u0308rder-7",
            "order-7 ",
            long + "a",
            long + "b",
            "\U0001f96c",
        ]

        tasks = [keyed(key) for key in keys]
        outcomes = await add(store, *tasks)
        repeated = await store.add_tasks([keyed(key) for key in keys])
        alone = await add(store, keyed("ORDER-7"))

        assert outcomes == [AddOutcome.new] * len(keys)
        assert [(added.id, added.outcome) for added in repeated] == [
            (task.id, AddOutcome.key_in_use) for task in tasks
        ]
        assert alone == [AddOutcome.new]

    @law
    async def test_the_launch_that_took_a_key_can_be_repeated(self, stage: Stage) -> None:
        """Repeating the very launch that uses a key is ``again``, not ``key_in_use``.

        If it fails: keys are looked at before ids.
        """
        store = await stage.open()
        first = keyed()

        outcomes = [*await add(store, first), *await add(store, first)]

        assert outcomes == [AddOutcome.new, AddOutcome.again]

    @law
    async def test_a_launch_refused_for_its_id_takes_no_key(self, stage: Stage) -> None:
        """A launch that is ``id_in_use`` leaves its key free.

        If it fails: the key is written before it is known that the task will be.
        """
        store = await stage.open()
        other = await stored(store, task())
        refused = keyed().replace(id=other.id)

        outcomes = await add(store, refused)

        assert outcomes == [AddOutcome.id_in_use]
        assert await user_of(store) is None

    @law
    async def test_a_key_until_started_is_free_once_the_task_is_claimed(self, stage: Stage) -> None:
        """With ``until=started`` a key is in use while its task is pending, and no longer.

        If it fails: the claim does not free the key, or something before it does.
        """
        store = await stage.open()
        first = await stored(store, keyed(until=UniqueUntil.started))

        while_pending = await user_of(store)
        await claim(store)

        assert while_pending == first.id
        assert await user_of(store) is None

    @law
    async def test_a_key_until_started_is_in_use_while_a_retry_waits(self, stage: Stage) -> None:
        """With ``until=started`` a task that is pending again uses its key again, if nobody took it meanwhile.

        If it fails: the key is forgotten at the claim, instead of asked for by the task's status.
        """
        store = await stage.open()
        given = await started(store, keyed(until=UniqueUntil.started))

        await store.change_tasks([settled(given, status=TaskStatus.pending, delay=HOUR)])

        assert await user_of(store) == given.id

    @law
    async def test_a_key_until_finished_is_in_use_until_a_final_status(self, stage: Stage) -> None:
        """With ``until=finished`` a pending, started or held task uses its key.

        If it fails: the key is freed at the claim, or ``held`` counts as final.
        """
        store = await stage.open()
        first = await stored(store, keyed())
        pending = await user_of(store)
        (given,) = (await claim(store)).tasks
        running = await user_of(store)
        await store.change_tasks([settled(given, status=TaskStatus.held)])
        held = await user_of(store)

        assert (pending, running, held) == (first.id, first.id, first.id)

    @law
    async def test_a_key_until_finished_is_free_after_every_final_status(self, stage: Stage) -> None:
        """With ``until=finished`` each of the final statuses frees the key.

        If it fails: only some statuses free it, mostly only ``success``.
        """
        store = await stage.open()
        users = {}
        for status in sorted(FINAL):
            kept = await stored(store, keyed())
            await store.change_tasks([changed(kept, Guard.resting, status=status)])
            users[status] = await user_of(store)

        assert users == dict.fromkeys(sorted(FINAL))

    @law
    async def test_a_key_for_a_period_is_in_use_that_long(self, stage: Stage) -> None:
        """With ``until=period`` a key is in use from the launch for its period, though its task has finished.

        If it fails: the period is counted from the eta or from the end, or the task's status is asked.
        """
        store = await stage.open()
        given = await started(store, keyed(until=UniqueUntil.period, period=HOUR))
        await store.change_tasks([settled(given)])

        stage.clock.shift(minutes=55)
        within = await user_of(store)
        await stage.reach(store, minutes=5)

        assert within == given.id
        assert await user_of(store) is None

    @law
    async def test_a_key_for_a_period_is_free_afterwards_though_its_task_runs(self, stage: Stage) -> None:
        """With ``until=period`` the end of the period frees the key, whatever the task is doing.

        If it fails: the key is in use until both the period and the task have ended.
        """
        store = await stage.open()
        await store.add_tasks([keyed(until=UniqueUntil.period, period=HOUR)])

        await stage.reach(store, hours=1)

        assert await user_of(store) is None

    @law
    async def test_a_key_for_ever_outlives_its_task(self, stage: Stage) -> None:
        """With ``until=forever`` a key stays in use after its task is deleted, and names that task still.

        If it fails: the key is deleted with the row, or lives in a column of it.
        """
        store = await stage.open()
        given = await started(store, keyed(until=UniqueUntil.forever))
        await store.change_tasks([settled(given)])
        finished = await user_of(store)
        await store.delete_tasks([given.id])
        stage.clock.shift(days=10_000)

        assert finished == given.id
        assert await user_of(store) == given.id

    @law
    async def test_a_key_for_a_period_outlives_its_task_until_the_period_ends(self, stage: Stage) -> None:
        """With ``until=period`` deleting the task does not free the key, and the end of the period does.

        If it fails: see that the end of the period is kept with the key, not with the task.
        """
        store = await stage.open()
        given = await started(store, keyed(until=UniqueUntil.period, period=HOUR))
        await store.change_tasks([settled(given)])
        await store.delete_tasks([given.id])
        within = await user_of(store)

        await stage.reach(store, hours=1)

        assert within == given.id
        assert await user_of(store) is None

    @law
    async def test_a_key_that_is_taken_anew_lives_as_its_new_user_says(self, stage: Stage) -> None:
        """Once free, a key belongs to the next that takes it: its id is answered, and its ``until`` counts.

        If it fails: the first user's row for the key is kept, or only half written over.
        """
        store = await stage.open()
        await started(store, keyed(until=UniqueUntil.started))
        second = await started(store, keyed(until=UniqueUntil.forever), worker="bob")

        assert await user_of(store) == second.id

    @law
    async def test_deleting_an_earlier_user_leaves_the_key_to_its_present_one(self, stage: Stage) -> None:
        """Deleting a task whose key another task has taken since does not free the key.

        If it fails: keys are deleted by their text, or by a task id that was not written over.
        """
        store = await stage.open()
        first = await started(store, keyed())
        await store.change_tasks([settled(first)])
        second = await stored(store, keyed())

        await store.delete_tasks([first.id])

        assert await user_of(store) == second.id

    @law
    async def test_a_crash_does_not_free_a_key(self, stage: Stage) -> None:
        """A task that was rescued from a dead worker uses its key still, and frees it when it ends.

        If it fails: the rescue is treated as an end, or the key is bound to a run.
        """
        store = await stage.open()
        given = await started(store, keyed())
        stage.clock.shift(hours=2)

        rescued = await answer(store, reaped(given))
        waiting = await user_of(store)
        (again,) = (await claim(store, "bob")).tasks
        await store.change_tasks([settled(again)])

        assert (rescued, waiting) == ("accepted", given.id)
        assert await user_of(store) is None
