"""A batch that meets another writer: whom it keeps waiting, and how often the store is asked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from kapusta._store import Store
from kapusta._worker._changing import change_apart
from kapusta.backend import Change, ChangeAnswer, Guard, NewTask, StoreUnavailableError, TaskStatus
from kapusta_memory import MemoryCRUD
from tests.worker.scripted import ScriptedCRUD

CHANGES = [Change(id=id, run=0, guard=Guard.resting, status=TaskStatus.cancelled) for id in range(1, 21)]


@pytest.fixture
async def crud() -> AsyncIterator[ScriptedCRUD]:
    """A store with a task for each of the changes."""
    crud = ScriptedCRUD(MemoryCRUD())
    await crud.startup()
    await crud.add_tasks([NewTask(id=each.id, token="t", name="task", payload=b"{}") for each in CHANGES])
    yield crud
    await crud.shutdown()


@pytest.fixture
def store(crud: ScriptedCRUD) -> Store:
    """How the worker calls it."""
    return Store(crud, timeout=timedelta(seconds=10), outage_after=timedelta(seconds=10))


def locked(*ids: int, busy: bool = True) -> Any:
    """A hook that lets no change through that touches one of these."""

    def refuse(operation: str, changes: Any) -> None:
        if operation == "change_tasks" and not {change.id for change in changes}.isdisjoint(ids):
            raise StoreUnavailableError(operation=operation, problem="somebody else has it", busy=busy)

    return refuse


async def test_rows_that_are_locked_keep_no_others_waiting(crud: ScriptedCRUD, store: Store) -> None:
    """The rest of the batch is written, each with its answer in its place; of the locked ones it is said why not.

    Two that are tried one after the other end the attempt, so it may take another one to get round them.
    """
    crud.script.before = locked(1, 2)
    written: dict[int, ChangeAnswer] = {}

    for _ in range(50):
        answers, trouble = await change_apart(store, CHANGES)
        written |= {change.id: answer for change, answer in zip(CHANGES, answers, strict=True) if answer}
        assert trouble is not None
        assert trouble.busy

    assert sorted(written) == list(range(3, 21))
    crud.script.before = locked()
    answers, trouble = await change_apart(store, [CHANGES[0], CHANGES[1]])
    assert (answers, trouble) == ([ChangeAnswer.accepted] * 2, None)


@pytest.mark.parametrize(("busy", "calls"), [(True, 3), (False, 1)])
async def test_a_store_that_can_write_nothing_is_not_asked_for_each_row(
    crud: ScriptedCRUD, store: Store, busy: bool, calls: int
) -> None:
    """Where the whole database is locked, or away, a batch costs three calls, or one, and not one for each row."""
    crud.script.before = locked(*range(1, 21), busy=busy)
    crud.script.asked.clear()

    try:
        answers, trouble = await change_apart(store, CHANGES)
    except StoreUnavailableError as error:
        answers, trouble = [None] * 20, error

    assert crud.script.asked == ["change_tasks"] * calls
    assert answers == [None] * 20
    assert trouble is not None
    assert trouble.busy is busy
