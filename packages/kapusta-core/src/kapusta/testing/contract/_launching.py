"""Laws of ``add_tasks``: a launch is stored once, and as it was given."""
# ruff: noqa: S101 - a law asserts, and the number in a law is the claim

from __future__ import annotations

from datetime import timedelta, timezone
from typing import Any

from kapusta._crud import BaseCRUD
from kapusta._enums import TaskExecutionMode, TaskStatus
from kapusta._records import MAX_ID, MAX_PRIORITY, MIN_PRIORITY, AddOutcome, StoredTask, UniqueKey

from .._examples import HOUR, PROCESS, THREAD, add, claimed, found, look, near, settled, started, stored, task
from .._law import law
from .._stage import Stage


async def _stored_in_every_company(store: BaseCRUD, **fields: Any) -> list[StoredTask]:
    """Launch a task of these fields alone, beside tasks unlike it, and beside one with a unique key.

    A store may have a shorter way for tasks that are alike; a law holds for every way.
    """
    unlike = {"name": "other", "queue": "other", "mode": PROCESS, "priority": 3, "codec": "pickle"}
    wanted = [task(**fields) for _ in range(3)]
    await store.add_tasks([wanted[0]])
    await store.add_tasks([wanted[1], task(**unlike, overdue_after=HOUR), task(**unlike, delay=HOUR)])
    await store.add_tasks([task(unique=UniqueKey(key="company")), wanted[2]])
    return [await look(store, each.id) for each in wanted]


class LaunchingLaws:
    """What ``add_tasks`` keeps."""

    @law
    async def test_a_new_task_is_stored_as_it_was_given(self, stage: Stage) -> None:
        """Every field of a new task comes back as the launcher gave it.

        If it fails: a column is missing, shortened, or filled from another field.
        """
        store = await stage.open()
        fields = {
            "token": "tøken",
            "name": "billing.send",
            "payload": b"[7]",
            "codec": "pickle",
            "mode": THREAD,
            "queue": "mail",
            "priority": 5,
            "options": b'{"timeout": 3}',
        }

        for kept in await _stored_in_every_company(store, **fields):
            assert {field: getattr(kept, field) for field in fields} == fields

    @law
    async def test_a_new_task_has_no_history(self, stage: Stage) -> None:
        """A new task is pending; its run and its counters are 0, and nothing is said of what has not happened.

        If it fails: compare the defaults of the row with those of the specification.
        """
        store = await stage.open()

        for kept in await _stored_in_every_company(store):
            assert kept.status is TaskStatus.pending
            assert (kept.run, kept.failures, kept.crashes, kept.interruptions) == (0, 0, 0, 0)
            assert kept.cancel_requested is False
            assert (kept.worker, kept.lease, kept.lease_end, kept.settled_run) == (None, None, None, None)
            assert (kept.result, kept.error, kept.reason) == (None, None, None)
            assert (kept.started, kept.finished) == (None, None)

    @law
    async def test_a_task_is_created_now_by_the_stores_clock(self, stage: Stage) -> None:
        """``created`` is the store's now, which the clock's offset moves.

        If it fails: the instant is taken from the process or from the engine without ``clock.offset``.
        """
        store = await stage.open()
        before = await stage.now(store)
        stage.clock.shift(hours=3)

        for kept in await _stored_in_every_company(store):
            assert near(kept.created, before + timedelta(hours=3))

    @law
    async def test_instants_come_back_aware_and_in_utc(self, stage: Stage) -> None:
        """Every instant of a task has the offset zero, whatever the engine stores.

        If it fails: the engine gives naive datetimes, or those of its session's time zone.
        """
        store = await stage.open()
        given = await started(store, task(overdue_after=HOUR))
        await store.change_tasks([settled(given)])

        kept = await look(store, given.id)

        instants = [kept.eta, kept.deadline, kept.created, kept.started, kept.finished, given.lease_end]
        assert [instant and instant.utcoffset() for instant in instants] == [timedelta(0)] * 6

    @law
    async def test_without_an_eta_a_task_is_due_after_its_delay(self, stage: Stage) -> None:
        """The eta is the store's now plus the delay, and the store's now is ``created``.

        If it fails: look for a second reading of the clock, or for a delay in other units.
        """
        store = await stage.open()

        for kept in await _stored_in_every_company(store, delay=timedelta(hours=2)):
            assert kept.eta - kept.created == timedelta(hours=2)

    @law
    async def test_an_eta_counts_more_than_a_delay(self, stage: Stage) -> None:
        """Where an eta is given the delay does not count, and an eta that is past stays what it is.

        If it fails: the delay is added to the eta, or the eta is raised to now.
        """
        store = await stage.open()
        eta = (await stage.now(store)).replace(microsecond=0) - HOUR

        for kept in await _stored_in_every_company(store, eta=eta, delay=timedelta(hours=5)):
            assert kept.eta == eta

    @law
    async def test_an_eta_of_another_time_zone_comes_back_equal(self, stage: Stage) -> None:
        """An eta in another time zone is the same instant in UTC afterwards.

        If it fails: the time zone is dropped instead of converted.
        """
        store = await stage.open()
        zone = timezone(timedelta(hours=5, minutes=45))
        eta = (await stage.now(store)).replace(microsecond=0).astimezone(zone) + HOUR

        for kept in await _stored_in_every_company(store, eta=eta):
            assert kept.eta == eta
            assert kept.eta.utcoffset() == timedelta(0)

    @law
    async def test_an_eta_is_kept_to_the_declared_resolution(self, stage: Stage) -> None:
        """What is stored differs from the eta by less than ``capabilities.time_resolution``.

        If it fails: the column is coarser than declared, or floating point has eaten the microseconds.
        """
        store = await stage.open()
        eta = (await stage.now(store)).replace(microsecond=987_654) + HOUR

        for kept in await _stored_in_every_company(store, eta=eta):
            assert abs(kept.eta - eta) < store.capabilities.time_resolution

    @law
    async def test_the_deadline_counts_from_the_launch(self, stage: Stage) -> None:
        """The deadline is ``created`` plus ``overdue_after``, however late the eta.

        If it fails: the deadline is counted from the eta.
        """
        store = await stage.open()

        for kept in await _stored_in_every_company(store, delay=HOUR, overdue_after=timedelta(hours=2)):
            assert kept.deadline is not None
            assert kept.deadline - kept.created == timedelta(hours=2)

    @law
    async def test_a_task_without_overdue_time_has_no_deadline(self, stage: Stage) -> None:
        """Without ``overdue_after`` there is no deadline.

        If it fails: a missing value is stored as zero or as some far instant.
        """
        store = await stage.open()

        for kept in await _stored_in_every_company(store):
            assert kept.deadline is None

    @law
    async def test_every_mode_is_kept(self, stage: Stage) -> None:
        """A task of each mode comes back in that mode, as the enum.

        If it fails: the mode's text or number is not turned back, or one is missing from a table.
        """
        store = await stage.open()

        kept = [(await stored(store, task(mode=mode))).mode for mode in TaskExecutionMode]

        assert kept == list(TaskExecutionMode)
        assert all(isinstance(mode, TaskExecutionMode) for mode in kept)

    @law
    async def test_the_outermost_ids_and_priorities_are_kept(self, stage: Stage) -> None:
        """Ids from 1 to 2**63 - 1 and priorities from -100 to 100 are stored, claimed and settled.

        If it fails: a column is narrower than 64 bits, unsigned, or went through floating point.
        """
        store = await stage.open()
        extremes = [(1, MIN_PRIORITY), (MAX_ID - 1, MAX_PRIORITY), (MAX_ID, MIN_PRIORITY)]
        new = [task(id=id, priority=priority) for id, priority in extremes]

        assert await add(store, *new) == [AddOutcome.new] * 3
        given = await claimed(store)
        kept = [await look(store, id) for id, _ in extremes]
        answers = await store.change_tasks([settled(each) for each in kept])

        assert given == [MAX_ID - 1, 1, MAX_ID]
        assert [(each.id, each.priority) for each in kept] == extremes
        assert [each.id for each in answers if each.answer == "accepted"] == [1, MAX_ID - 1, MAX_ID]

    @law
    async def test_a_payload_of_a_mebibyte_keeps_every_byte(self, stage: Stage) -> None:
        """A payload of 1 MiB with all 256 byte values comes back whole.

        If it fails: a column of 64 KiB, a text column, or an escape for NUL.
        """
        store = await stage.open()
        payload = bytes(range(256)) * 4096

        kept = await stored(store, task(payload=payload))

        assert kept.payload == payload

    @law
    async def test_empty_bytes_stay_empty_bytes(self, stage: Stage) -> None:
        """An empty payload and empty options come back as ``b""``.

        If it fails: something takes emptiness for absence, with ``or`` instead of ``is None``.
        """
        store = await stage.open()

        kept = await stored(store, task(payload=b"", options=b""))

        assert (kept.payload, kept.options) == (b"", b"")

    @law
    async def test_a_repeated_launch_makes_no_second_task(self, stage: Stage) -> None:
        """The same id and token again are answered ``again``, and there is one task.

        If it fails: a launch whose reply was lost makes two tasks, or an error.
        """
        store = await stage.open()
        new = task()

        outcomes = [*await add(store, new), *await add(store, new)]

        assert outcomes == [AddOutcome.new, AddOutcome.again]
        assert await found(store) == [new.id]

    @law
    async def test_a_repeated_launch_changes_nothing(self, stage: Stage) -> None:
        """Whatever has become of a task, its repeated launch is ``again`` and leaves it alone.

        If it fails: an upsert writes over the row, or final tasks are not looked at.
        """
        store = await stage.open()
        new = task()
        given = await started(store, new)
        running = await add(store, new.replace(payload=b"other", delay=HOUR))
        while_running = await look(store, new.id)
        await store.change_tasks([settled(given, result=b"1")])
        finished = await look(store, new.id)

        afterwards = await add(store, new)

        assert (running, afterwards) == ([AddOutcome.again], [AddOutcome.again])
        assert while_running == given
        assert await look(store, new.id) == finished

    @law
    async def test_an_id_under_another_token_is_in_use(self, stage: Stage) -> None:
        """The same id with another token is ``id_in_use``, and the task that has it stays as it is.

        If it fails: the token is not compared, or not code point by code point.
        """
        store = await stage.open()
        first = task(token="Straße")
        before = await stored(store, first)

        outcomes = [
            *await add(store, first.replace(token="straße")),
            *await add(store, first.replace(token="Strasse")),
        ]

        assert outcomes == [AddOutcome.id_in_use] * 2
        assert await look(store, first.id) == before

    @law
    async def test_a_batch_is_answered_in_the_order_given(self, stage: Stage) -> None:
        """Each answer stands where its task stood, with its id, whatever the order of the ids.

        If it fails: the answers come in the order in which rows were locked or written.
        """
        store = await stage.open()
        first, second, third, fourth = task(), task(), task(), task()
        await store.add_tasks([second, third])

        answers = await store.add_tasks([fourth, third.replace(token="else"), first, second])

        assert [(each.id, each.outcome) for each in answers] == [
            (fourth.id, AddOutcome.new),
            (third.id, AddOutcome.id_in_use),
            (first.id, AddOutcome.new),
            (second.id, AddOutcome.again),
        ]
        assert await found(store) == [first.id, second.id, third.id, fourth.id]

    @law
    async def test_a_task_given_twice_in_one_call_is_stored_once(self, stage: Stage) -> None:
        """Within one call the second of two equal tasks is ``again``.

        If it fails: answers are worked out before anything is written, for all tasks at once.
        """
        store = await stage.open()
        new = task()

        outcomes = await add(store, new, new, new.replace(token="else"))

        assert outcomes == [AddOutcome.new, AddOutcome.again, AddOutcome.id_in_use]
        assert await found(store) == [new.id]

    @law
    async def test_a_batch_of_500_is_stored_whole(self, stage: Stage) -> None:
        """500 tasks in one call are all there, and so is nothing else; a call without tasks is answered by none.

        If it fails: a limit on parameters or rows per statement, or an empty list that becomes bad SQL.
        """
        store = await stage.open()
        new = [task() for _ in range(500)]

        outcomes = await add(store, *new)

        assert outcomes == [AddOutcome.new] * 500
        assert await found(store, limit=1000) == [each.id for each in new]
        assert list(await store.add_tasks([])) == []
