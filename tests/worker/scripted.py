"""A backend that errs when the test says so, and notes what it was asked and what it answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, NamedTuple, TypeVar

from kapusta.backend import (
    Added,
    BaseCRUD,
    Change,
    ChangeAnswer,
    Changed,
    ClaimRequest,
    Claims,
    NewTask,
    Renewed,
    RenewRequest,
    StoredTask,
    StoreUnavailableError,
    TaskQuery,
    WakeKind,
)

T = TypeVar("T")


class Call(NamedTuple):
    """One operation that was answered."""

    operation: str
    asked: Any
    answer: Any


class Script:
    """What goes wrong, and what has happened; shared by a handle and its twins, written by the test.

    Attributes:
        down: operations that err, nothing done; ``"*"`` for all.
        stuck: operations that never answer, nothing done (but ``shutdown``, which is); ``"*"`` for all.
        lose_replies: operations whose next reply is lost, the work done; each name is used up once.
        locked: whether a stranger has locked the rows; for backends that ask.
        before: called before each operation with its name and what was asked; may raise.
        calls: what was answered.
        asked: the names of all operations that were asked for, answered or not.
    """

    def __init__(self) -> None:
        self.down: set[str] = set()
        self.stuck: set[str] = set()
        self.lose_replies: list[str] = []
        self.locked = False
        self.before: Callable[[str, Any], object] = lambda operation, asked: None
        self.calls: list[Call] = []
        self.asked: list[str] = []

    def accepted(self) -> list[Change]:
        """Every change that was accepted, in order."""
        return [
            change
            for call in list(self.calls)
            if call.operation == "change_tasks"
            for change, answer in zip(call.asked, call.answer, strict=True)
            if answer.answer is ChangeAnswer.accepted
        ]

    def refused(self) -> list[Change]:
        """Every change that was refused, in order."""
        return [
            change
            for call in list(self.calls)
            if call.operation == "change_tasks"
            for change, answer in zip(call.asked, call.answer, strict=True)
            if answer.answer is ChangeAnswer.refused
        ]


class ScriptedCRUD(BaseCRUD):
    """Any backend behind a `Script`."""

    def __init__(self, crud: BaseCRUD, script: Script | None = None) -> None:
        super().__init__(clock=crud.clock)
        self.crud, self.script = crud, script or Script()
        self.capabilities = crud.capabilities

    async def startup(self) -> None:
        """Open what is behind."""
        if {"startup", "*"} & self.script.stuck:
            await self._never()
        await self.crud.startup()

    async def shutdown(self) -> None:
        """Close what is behind."""
        await self.crud.shutdown()
        if {"shutdown", "*"} & self.script.stuck:
            await self._never()

    def twin(self) -> ScriptedCRUD:
        """Another handle, by the same script."""
        return ScriptedCRUD(self.crud.twin(), self.script)

    async def add_tasks(self, tasks: Sequence[NewTask]) -> Sequence[Added]:
        """Store tasks."""
        return await self._do("add_tasks", tasks, self.crud.add_tasks)

    async def claim_tasks(self, request: ClaimRequest) -> Claims:
        """Claim tasks."""
        return await self._do("claim_tasks", request, self.crud.claim_tasks)

    async def start_task(self, task: NewTask, request: ClaimRequest) -> Claims | None:
        """Store and claim a new task."""
        return await self._do("start_task", task, lambda _: self.crud.start_task(task, request))

    async def change_tasks(self, changes: Sequence[Change]) -> Sequence[Changed]:
        """Change tasks."""
        return await self._do("change_tasks", changes, self.crud.change_tasks)

    async def renew_leases(self, request: RenewRequest) -> Sequence[Renewed]:
        """Renew leases."""
        return await self._do("renew_leases", request, self.crud.renew_leases)

    async def find_tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        """Find tasks."""
        return await self._do("find_tasks", query, self.crud.find_tasks)

    async def delete_tasks(self, ids: Sequence[int]) -> int:
        """Delete tasks."""
        return await self._do("delete_tasks", ids, self.crud.delete_tasks)

    def listen(self, wake: Callable[[WakeKind], None]) -> AbstractAsyncContextManager[None]:
        """Wake-ups from behind."""
        return self.crud.listen(wake)

    async def _never(self) -> None:
        while True:  # by the clock: one that is moved is told that nothing real goes on here
            await self.clock.sleep(24 * 3600)

    async def _do(self, operation: str, asked: Any, work: Callable[[Any], Awaitable[T]]) -> T:
        script = self.script
        script.asked.append(operation)
        script.before(operation, asked)
        if {operation, "*"} & script.stuck:
            await self._never()
        if {operation, "*"} & script.down:
            raise StoreUnavailableError(operation=operation, problem="the test has taken it down")
        answer = await work(asked)
        script.calls.append(Call(operation, asked, answer))
        if operation in script.lose_replies:
            script.lose_replies.remove(operation)
            raise StoreUnavailableError(operation=operation, problem="the test has lost the reply")
        return answer
