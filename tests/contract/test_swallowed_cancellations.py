"""A store that swallows cancellations breaks the laws of cancelling, whatever it does about the work."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Literal, TypeVar

import pytest

from kapusta.backend import (
    Added,
    Change,
    Changed,
    ClaimRequest,
    Claims,
    NewTask,
    Renewed,
    RenewRequest,
    StoredTask,
    TaskQuery,
)
from kapusta.testing import BackendContract
from kapusta.testing._law import laws_of
from kapusta.testing.contract._cancelling import CancellingLaws
from kapusta_memory import MemoryCRUD
from tests.contract.handles import handles_to_one_store

T = TypeVar("T")

LAWS = dict(laws_of(BackendContract))
RETURNS = "test_a_cancelled_operation_does_not_return"


class SwallowingCRUD(MemoryCRUD):
    """A store in memory, one operation of which swallows the cancellation and returns.

    Attributes:
        operation: which one.
        does: which part of the work it does then: all of it, half of a batch, or nothing of it.
    """

    operation = ""
    does: Literal["all", "half", "nothing"] = "all"

    async def add_tasks(self, tasks: Sequence[NewTask]) -> Sequence[Added]:
        return await self._swallowed("add_tasks", super().add_tasks, tasks, [])

    async def claim_tasks(self, request: ClaimRequest) -> Claims:
        nothing = Claims(tasks=[], now=self.clock.now(), next_due=None)
        return await self._swallowed("claim_tasks", super().claim_tasks, request, nothing)

    async def change_tasks(self, changes: Sequence[Change]) -> Sequence[Changed]:
        return await self._swallowed("change_tasks", super().change_tasks, changes, [])

    async def renew_leases(self, request: RenewRequest) -> Sequence[Renewed]:
        return await self._swallowed("renew_leases", super().renew_leases, request, [])

    async def find_tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        return await self._swallowed("find_tasks", super().find_tasks, query, [])

    async def delete_tasks(self, ids: Sequence[int]) -> int:
        return await self._swallowed("delete_tasks", super().delete_tasks, ids, 0)

    async def _swallowed(
        self, operation: str, work: Callable[[Any], Awaitable[T]], given: Any, nothing: T
    ) -> T:
        try:
            return await work(given)
        except asyncio.CancelledError:
            if self.operation != operation:
                raise
            match self.does:
                case "all":
                    return await work(given)
                case "half" if isinstance(given, RenewRequest):
                    return await work(given.replace(renewals=given.renewals[:10]))
                case "half":
                    return await work(given[: len(given) // 2])
                case "nothing":
                    return nothing


def broken(law: str, operation: str, does: str) -> str | None:
    """How a store that swallows breaks a law, if it does."""
    kind = type("Swallowing", (SwallowingCRUD,), {"operation": operation, "does": does})
    try:
        LAWS[law](BackendContract(), handles_to_one_store(kind))
    except AssertionError as error:
        return str(error)
    return None


@pytest.mark.parametrize("does", ["all", "nothing"])
@pytest.mark.parametrize(
    "operation", ["add_tasks", "claim_tasks", "change_tasks", "renew_leases", "find_tasks", "delete_tasks"]
)
def test_an_operation_that_returns_after_a_cancellation_breaks_a_law(operation: str, does: str) -> None:
    """Done or not, its caller goes on as if nothing had happened: no timeout ends it."""
    said = broken(RETURNS, operation, does)

    assert said is not None
    assert f"{operation} returned after it was cancelled" in said


@pytest.mark.parametrize(
    ("operation", "does", "law"),
    [
        ("add_tasks", "nothing", "test_a_cancelled_launch_stored_all_or_nothing"),
        ("add_tasks", "half", "test_a_cancelled_launch_stored_all_or_nothing"),
        ("claim_tasks", "nothing", "test_a_cancelled_claim_loses_no_task"),
        ("change_tasks", "nothing", "test_cancelled_changes_are_written_all_or_not"),
        ("change_tasks", "half", "test_cancelled_changes_are_written_all_or_not"),
        ("renew_leases", "nothing", "test_a_cancelled_renewal_can_be_repeated"),
        ("renew_leases", "half", "test_a_cancelled_renewal_can_be_repeated"),
        ("find_tasks", "nothing", "test_a_cancelled_find_leaves_the_handle_working"),
        ("delete_tasks", "nothing", "test_a_cancelled_deletion_deletes_all_or_nothing"),
        ("delete_tasks", "half", "test_a_cancelled_deletion_deletes_all_or_nothing"),
    ],
)
def test_an_operation_that_returns_without_its_work_breaks_its_law(
    operation: str, does: str, law: str
) -> None:
    """What it returned is believed: a task that it does not name is lost, one that is missing counts as stored."""
    assert broken(law, operation, does) is not None


@pytest.mark.parametrize("law", [name for name, _ in laws_of(CancellingLaws)])
def test_without_a_swallowing_operation_every_law_holds(law: str) -> None:
    """The store breaks nothing but what it is told to."""
    assert broken(law, "none", "all") is None
