"""A backend that errs on a plan."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextlib import AbstractAsyncContextManager
from enum import StrEnum
from typing import Final, TypeVar

import msgspec

from kapusta._clock import Clock
from kapusta._crud import BaseCRUD, WakeKind
from kapusta._errors import StoreUnavailableError
from kapusta._records import (
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

T = TypeVar("T")

_AGES: Final = 24 * 3600.0
"""For how many seconds a hang sleeps at a time."""


class FaultKind(StrEnum):
    """What can go wrong with an operation.

    Attributes:
        before: it fails, and nothing was done.
        after: it fails, although it was done.
        delay: it waits, by the clock, before it is done.
        hang: it never answers; it may or may not have been done. Only a cancel ends the wait.
    """

    before = "before"
    after = "after"
    delay = "delay"
    hang = "hang"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """What goes wrong with one call.

    Attributes:
        seconds: for how long a ``delay`` waits.
        done: whether the work is done before a ``hang``.
    """

    kind: FaultKind
    seconds: float
    done: bool


class FaultPlan:
    """Which call meets which fault: the nth call of an operation always the same, whatever happens besides.

    Shared by a `FaultyCRUD` and its twins; used from any thread, under its own lock.

    Attributes:
        fired: how many faults of each kind there have been.
    """

    def __init__(
        self,
        *,
        seed: int,
        rate: float,
        kinds: Collection[FaultKind] = tuple(FaultKind),
        longest_delay: float = 0.1,
    ) -> None:
        if not 0 <= rate <= 1:
            raise ValueError(f"FaultPlan(rate={rate}) is not a probability between 0 and 1")
        self.seed, self.rate, self.kinds, self.longest_delay = seed, rate, tuple(kinds), longest_delay
        self.fired: Counter[FaultKind] = Counter()
        self.stormy = True
        self._calls: Counter[str] = Counter()
        self._lock = threading.Lock()

    def next(self, operation: str) -> Fault | None:
        """The fault that this call meets, if it meets one; it counts as fired."""
        with self._lock:
            self._calls[operation] += 1
            # Not a secret, but a repeatable chance.
            chance = random.Random(f"{self.seed}/{operation}/{self._calls[operation]}")  # noqa: S311 - as said
            if not self.stormy or chance.random() >= self.rate or not self.kinds:
                return None
            fault = Fault(
                kind=chance.choice(self.kinds),
                seconds=chance.uniform(0, self.longest_delay),
                done=chance.random() < 1 / 2,
            )
            self.fired[fault.kind] += 1
            return fault


class FaultyCRUD(BaseCRUD):
    """Any backend, with faults: it errs before, errs *after having done the work*, delays or hangs.

    ``startup()``, ``shutdown()`` and ``listen()`` are passed on as they are. A twin errs by the same plan.

    Attributes:
        crud: the backend behind it.
        plan: which call meets which fault; shared with its twins.
    """

    def __init__(
        self,
        crud: BaseCRUD,
        *,
        seed: int,
        rate: float = 0.2,
        kinds: Collection[FaultKind] = tuple(FaultKind),
        longest_delay: float = 0.1,
        clock: Clock | None = None,
    ) -> None:
        super().__init__(clock=clock or crud.clock)
        self.crud = crud
        self.capabilities = crud.capabilities
        self.plan = FaultPlan(seed=seed, rate=rate, kinds=kinds, longest_delay=longest_delay)

    @property
    def fired(self) -> Counter[FaultKind]:
        """How many faults of each kind there have been, twins included."""
        return self.plan.fired

    def calm(self) -> None:
        """From now on nothing goes wrong; what hangs goes on hanging."""
        self.plan.stormy = False

    def storm(self) -> None:
        """From now on things go wrong as planned; so it begins."""
        self.plan.stormy = True

    async def startup(self) -> None:
        await self.crud.startup()

    async def shutdown(self) -> None:
        await self.crud.shutdown()

    def twin(self) -> FaultyCRUD:
        twin = FaultyCRUD(self.crud.twin(), seed=self.plan.seed, clock=self.clock)
        twin.plan = self.plan
        return twin

    async def add_tasks(self, tasks: Sequence[NewTask]) -> Sequence[Added]:
        return await self._tried("add_tasks", lambda: self.crud.add_tasks(tasks))

    async def claim_tasks(self, request: ClaimRequest) -> Claims:
        return await self._tried("claim_tasks", lambda: self.crud.claim_tasks(request))

    async def start_task(self, task: NewTask, request: ClaimRequest) -> Claims | None:
        return await self._tried("start_task", lambda: self.crud.start_task(task, request))

    async def change_tasks(self, changes: Sequence[Change]) -> Sequence[Changed]:
        return await self._tried("change_tasks", lambda: self.crud.change_tasks(changes))

    async def renew_leases(self, request: RenewRequest) -> Sequence[Renewed]:
        return await self._tried("renew_leases", lambda: self.crud.renew_leases(request))

    async def find_tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        return await self._tried("find_tasks", lambda: self.crud.find_tasks(query))

    async def delete_tasks(self, ids: Sequence[int]) -> int:
        return await self._tried("delete_tasks", lambda: self.crud.delete_tasks(ids))

    def listen(self, wake: Callable[[WakeKind], None]) -> AbstractAsyncContextManager[None]:
        return self.crud.listen(wake)

    async def _tried(self, operation: str, work: Callable[[], Awaitable[T]]) -> T:
        fault = self.plan.next(operation)
        if fault is None:
            return await work()
        match fault.kind:
            case FaultKind.before:
                raise StoreUnavailableError(operation=operation, problem="a planned fault, with nothing done")
            case FaultKind.after:
                await work()
                raise StoreUnavailableError(
                    operation=operation, problem="a planned fault, with the work done"
                )
            case FaultKind.delay:
                await self.clock.sleep(fault.seconds)
                return await work()
            case FaultKind.hang:
                if fault.done:
                    await work()
                while True:  # by the clock: one that a test moves is told that nothing real goes on here
                    await self.clock.sleep(_AGES)
