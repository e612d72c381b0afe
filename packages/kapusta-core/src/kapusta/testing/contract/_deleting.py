"""Laws of ``delete_tasks``: what has ended can go, and nothing else."""
# ruff: noqa: S101 - a law asserts, and the number in a law is the claim

from __future__ import annotations

from kapusta._enums import FINAL, TaskExecutionMode, TaskStatus
from kapusta._records import AddOutcome, RenewAnswer

from .._examples import (
    HOUR,
    add,
    answer,
    claim,
    found,
    renewed,
    settled,
    started,
    stored,
    task,
)
from .._law import law
from .._stage import Stage


class DeletingLaws:
    """What ``delete_tasks`` deletes."""

    @law
    async def test_final_tasks_are_deleted(self, stage: Stage) -> None:
        """Tasks of every final status are deleted and counted: no operation knows them any more, and others stay.

        If it fails: a status is missing from the condition, or an index keeps the row.
        """
        store = await stage.open()
        ended = []
        for status in sorted(FINAL):
            given = await started(store)
            await store.change_tasks([settled(given, status=status)])
            ended.append(given)
        left = await stored(store, task())

        deleted = await store.delete_tasks([each.id for each in ended])

        assert deleted == len(FINAL)
        assert await found(store) == [left.id]
        assert await found(store, ids=frozenset(each.id for each in ended)) == []
        assert await answer(store, settled(ended[0])) == "refused"
        assert (await renewed(store, ended[0])).answer is RenewAnswer.lost

    @law
    async def test_tasks_that_are_not_final_are_not_deleted(self, stage: Stage) -> None:
        """Pending, started and held tasks stay, and are not counted.

        If it fails: the status is not looked at again while deleting. That loses tasks.
        """
        store = await stage.open()
        held, running = await started(store), await started(store)
        await store.change_tasks([settled(held, status=TaskStatus.held)])
        waiting = await stored(store, task())
        ids = [held.id, running.id, waiting.id]

        deleted = await store.delete_tasks(ids)

        assert deleted == 0
        assert await found(store) == ids

    @law
    async def test_a_deletion_counts_what_it_deleted(self, stage: Stage) -> None:
        """Unknown ids, and ids given twice, are not counted; no ids delete nothing.

        If it fails: the number of ids is answered, or an empty list deletes everything.
        """
        store = await stage.open()
        first, second = await started(store), await started(store)
        await store.change_tasks([settled(first), settled(second)])

        nothing = await store.delete_tasks([])
        deleted = await store.delete_tasks([first.id, first.id, second.id + 1])

        assert (nothing, deleted) == (0, 1)
        assert await found(store) == [second.id]

    @law
    async def test_a_deleted_id_is_free(self, stage: Stage) -> None:
        """After its task was deleted an id can be stored again, as a new task in every respect.

        If it fails: something of the deleted task is left, in a table of its own or in an index.
        """
        store = await stage.open()
        neighbour = await started(store)
        given = await started(store, task(mode=TaskExecutionMode.thread, priority=7))
        later = await stored(store, task(delay=HOUR))
        await store.change_tasks([settled(given, result=b"1")])
        await store.delete_tasks([given.id])
        again = task(id=given.id)

        assert await add(store, again) == [AddOutcome.new]
        assert await found(store) == [neighbour.id, given.id, later.id]
        claims = await claim(store)
        assert [(each.id, each.run, each.result, each.priority) for each in claims.tasks] == [
            (given.id, 1, None, 0)
        ]
