"""A handle to tasks in memory."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime

from kapusta.backend import (
    Added,
    BaseCRUD,
    Capabilities,
    Change,
    Changed,
    ClaimRequest,
    Claims,
    Clock,
    NewTask,
    Renewed,
    RenewRequest,
    StoredTask,
    StoreNotStartedError,
    TaskQuery,
    WakeKind,
)

from ._listeners import told_by_adding, told_by_changing
from ._storage import Storage


class MemoryCRUD(BaseCRUD):
    """Tasks in the memory of this process, by the same rules as in a database.

    Each ``MemoryCRUD()`` is a store of its own; ``twin()`` is another handle to the same one. The tasks live
    as long as a handle does, started or not. ``MemoryCRUD(clock=ManualClock())`` lets a test move time.

    Attributes:
        storage: the tasks, which all handles to the store share.
    """

    protocol = 1
    capabilities = Capabilities(pushes_wakeups=True, starts_tasks=True)

    def __init__(self, *, clock: Clock | None = None) -> None:
        super().__init__(clock=clock)
        self.storage = Storage()
        self._home: tuple[int, asyncio.AbstractEventLoop] | None = None

    async def startup(self) -> None:
        self._refuse_elsewhere()
        self._home = os.getpid(), asyncio.get_running_loop()

    async def shutdown(self) -> None:
        self._refuse_elsewhere()
        self._home = None

    def twin(self) -> MemoryCRUD:
        twin = MemoryCRUD(clock=self.clock)
        twin.storage = self.storage
        return twin

    async def add_tasks(self, tasks: Sequence[NewTask]) -> Sequence[Added]:
        answers = self.storage.add(tasks, await self._turn())
        self.storage.listeners.tell(self, told_by_adding(answers))
        return answers

    async def claim_tasks(self, request: ClaimRequest) -> Claims:
        return self.storage.claim(request, await self._turn())

    async def start_task(self, task: NewTask, request: ClaimRequest) -> Claims | None:
        return self.storage.start(task, request, await self._turn())

    async def change_tasks(self, changes: Sequence[Change]) -> Sequence[Changed]:
        answers = self.storage.change(changes, await self._turn())
        self.storage.listeners.tell(self, told_by_changing(changes, answers))
        return answers

    async def renew_leases(self, request: RenewRequest) -> Sequence[Renewed]:
        return self.storage.renew(request, await self._turn())

    async def find_tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        return self.storage.find(query, await self._turn())

    async def delete_tasks(self, ids: Sequence[int]) -> int:
        return self.storage.delete(ids, await self._turn())

    @asynccontextmanager
    async def listen(self, wake: Callable[[WakeKind], None]) -> AsyncIterator[None]:
        await self._turn()
        with self.storage.listeners.added(self, wake):
            yield

    async def _turn(self) -> datetime:
        # Every operation lets the loop turn, as one over a wire does, or a busy worker would starve the rest.
        # It does so before it acts: cancelled there, it has not happened, and no claim is left without a worker.
        await self.clock.sleep(0)
        home = self._home
        if home is None or home[1] is not asyncio.get_running_loop():
            is_here = home is not None and home[0] == os.getpid()
            raise StoreNotStartedError(backend="MemoryCRUD", elsewhere=is_here)
        return self.clock.now()

    def _refuse_elsewhere(self) -> None:
        """Refuse to take the store from another loop of this process that runs."""
        if self._home is None:
            return
        process, loop = self._home
        if loop is not asyncio.get_running_loop() and process == os.getpid() and loop.is_running():
            raise StoreNotStartedError(backend="MemoryCRUD", elsewhere=True)
