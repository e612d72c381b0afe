"""Laws of ``start_task``: a new task that the worker of its launcher has claimed, where that is declared."""
# ruff: noqa: S101 - a law asserts, and the number in a law is the claim

from __future__ import annotations

from datetime import timedelta

import pytest
from msgspec.structs import asdict

from kapusta._crud import BaseCRUD
from kapusta._enums import TaskExecutionMode, TaskStatus
from kapusta._records import AddOutcome, ChangeAnswer, NewTask, RenewAnswer, StoredTask

from .._examples import (
    LEASE,
    add,
    answer,
    claimed,
    look,
    reaped,
    reclaimed,
    renewed,
    request,
    settled,
    started,
    task,
)
from .._law import law
from .._stage import Stage

_DAY = timedelta(days=1)
_TIMES = ("eta", "deadline", "created", "started", "lease_end")


async def _started(store: BaseCRUD, new: NewTask, worker: str = "ann") -> StoredTask | None:
    """What ``start_task`` answers: the one task that it started, or ``None``."""
    if not store.capabilities.starts_tasks:
        pytest.skip(f"{type(store).__name__} declares starts_tasks=False")
    claims = await store.start_task(new, request(worker))
    if claims is None:
        return None
    (given,) = claims.tasks
    assert given.started == claims.now, "``now`` should be the instant at which the task was started"
    return given


class BornClaimedLaws:
    """What ``start_task`` stores."""

    @law
    async def test_a_born_claimed_task_has_the_fields_of_an_add_and_a_claim(self, stage: Stage) -> None:
        """Whatever does not depend on the instant is as ``add_tasks`` and ``claim_tasks`` would have left it.

        If it fails: compare what is written with what a claim of the same task writes, field by field.
        """
        store = await stage.open()
        new = task(
            payload=b"[1]", codec="pickle", mode=TaskExecutionMode.thread, queue="mail", priority=7,
            overdue_after=_DAY, options=b'{"timeout":1}',
        )  # fmt: skip
        given = await _started(store, new)

        claimed_later = await started(store, new.replace(id=new.id + (1 << 40)))
        assert given is not None
        expected, fields = asdict(claimed_later), asdict(given)
        different = {name for name in fields if fields[name] != expected[name]}
        assert different <= {"id", *_TIMES}, "only the id and the instants may differ"

    @law
    async def test_a_born_claimed_task_lives_by_one_instant(self, stage: Stage) -> None:
        """It is created, due and started at the same now, from which its lease and its deadline count.

        If it fails: the store asks for its now more than once, or counts in other units.
        """
        store = await stage.open()

        given = await _started(store, task(overdue_after=_DAY))

        assert given is not None
        assert given.created == given.eta == given.started
        assert given.lease_end == given.created + LEASE
        assert given.deadline == given.created + _DAY

    @law
    async def test_a_born_claimed_task_is_stored_as_it_was_answered(self, stage: Stage) -> None:
        """Another handle finds exactly the record that the worker was given.

        If it fails: the answer is made of something else than what was written, or is not durable.
        """
        store, other = await stage.open_all(2)

        given = await _started(store, task(priority=-3, overdue_after=_DAY))

        assert given is not None
        assert await look(other, given.id) == given

    @law
    async def test_a_born_claimed_task_is_claimed_by_no_other_worker(self, stage: Stage) -> None:
        """It belongs to the worker that launched it, as after a claim.

        If it fails: the row is ``pending``, if only for a moment.
        """
        store, other = await stage.open_all(2)

        await _started(store, task())

        assert await claimed(other, "bob") == []

    @law
    async def test_an_id_that_is_taken_starts_nothing(self, stage: Stage) -> None:
        """``None``, and the task that has the id stays as it is, whatever its token.

        If it fails: the INSERT replaces or updates a row that it meets.
        """
        store = await stage.open()
        new = task()
        await add(store, new)
        before = await look(store, new.id)

        assert await _started(store, new) is None
        assert await _started(store, new.replace(token="other", payload=b"[2]")) is None

        assert await look(store, new.id) == before

    @law
    async def test_a_born_claimed_launch_that_is_repeated_is_the_same_launch(self, stage: Stage) -> None:
        """After a lost reply the launch is repeated by ``add_tasks``, which knows it by id and token.

        If it fails: the token is not stored with the task.
        """
        store = await stage.open()
        new = task()
        given = await _started(store, new)

        outcomes = await add(store, new), await add(store, new.replace(token="other"))

        assert outcomes == ([AddOutcome.again], [AddOutcome.id_in_use])
        assert await look(store, new.id) == given

    @law
    async def test_a_born_claimed_task_is_renewed_and_settled_by_its_worker(self, stage: Stage) -> None:
        """Its run is the first one: later writes of its worker bear it and are accepted.

        If it fails: run or worker were not stored as they were answered.
        """
        store = await stage.open()
        given = await _started(store, task())
        assert given is not None

        renewal = await renewed(store, given)
        outcome = await answer(store, settled(given, result=b"1"))

        assert renewal.answer is RenewAnswer.renewed
        assert outcome is ChangeAnswer.accepted
        assert (await look(store, given.id)).status is TaskStatus.success

    @law
    async def test_a_born_claimed_task_is_rescued_when_its_lease_has_ended(self, stage: Stage) -> None:
        """If its worker is gone, it is found and given to another one.

        If it fails: the row is in no index, or without a lease, so that no rescuer sees it.
        """
        store = await stage.open()
        given = await _started(store, task())
        assert given is not None
        assert await answer(store, reaped(given)) is ChangeAnswer.refused

        await stage.reach(store, minutes=41)

        assert await answer(store, reaped(given)) is ChangeAnswer.accepted
        assert (await reclaimed(store, "bob")).run == given.run + 1
