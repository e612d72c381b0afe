"""A backend call: shielded, with a deadline, repeated after a lost reply."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from ._backoff import Backoff
from ._crud import BaseCRUD, JoinedStore
from ._errors import BackendTooNewError, StillBusyError, StoreUnavailableError, TransactionError
from ._home import Home
from ._launch_queue import LaunchQueue, places_of
from ._records import (
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

_SLICES: Final = 10
_TASKS_PER_TIMEOUT: Final = 10_000
"""A batch has one more deadline for each so many tasks; a slow server stores as many in a second or two."""
_AGAIN: Final = Backoff(initial=timedelta(milliseconds=50), maximum=timedelta(seconds=2), jitter=False)


class Store:
    """Calls one backend from one event loop, which is also its only writer.

    A call is never cancelled half way: cancelling whoever waits for it leaves it running to its end. It has
    a deadline, counted in slices of which a stalled loop uses up one, however long it stalls; a call
    without an answer by then is cancelled, and raises `StoreUnavailableError`.
    """

    def __init__(self, crud: BaseCRUD, *, timeout: timedelta, outage_after: timedelta) -> None:
        refuse_newer(crud)
        self.crud = crud
        self.clock = crud.clock
        self._timeout = timeout.total_seconds()
        self._outage_after = outage_after.total_seconds()
        self._calls: set[asyncio.Task[Any]] = set()
        self._home: Home | None = None  # of those calls
        self._launches: LaunchQueue | None = None
        self._failing_since: float | None = None
        self._reached_since = self.clock.monotonic()

    def change_backend(self, crud: BaseCRUD) -> None:
        """From now on call another backend, by its clock; nothing runs on the one before."""
        refuse_newer(crud)
        self.crud, self.clock = crud, crud.clock
        self._failing_since = None
        self.start_reach()

    def now(self) -> datetime:
        """The time of day, by the clock of the backend that it has at the time."""
        return self.clock.now()

    def start_reach(self) -> None:
        """Count `reach` from now: before, nothing is known."""
        self._reached_since = self.clock.monotonic()

    @property
    def reach(self) -> float:
        """For how many seconds the store has been within reach without an outage."""
        return 0.0 if self._in_outage() else self.clock.monotonic() - self._reached_since

    # --- operations -----------------------------------------------------------------------------

    async def add(self, tasks: Sequence[NewTask], began: float | None = None) -> Sequence[Added]:
        """Store tasks; repeated, since a repeated launch is one launch, until its deadline is over.

        The deadline is that of one call, and grows with the batch. It counts from when the launch *began*, on the
        monotonic scale, by default from now; the wait for earlier launches of this process does not count.

        Raises:
            StoreUnavailableError: the store did not answer in time, or is known to be down, or was closed, while this
                launch waited.
        """
        arrived = self.clock.monotonic()
        launches, places = self._launch_queue(), places_of(len(tasks))
        if launches.is_down(arrived) and not launches.has_room(places):
            # A caller that repeats its launch in a loop must let that loop turn, and other launches give up.
            await self.clock.sleep(_AGAIN.delay(1, 1.0).total_seconds())
            raise _turned_away("the store is down, and other launches are trying to reach it")
        await launches.enter(places)
        try:
            waited = self.clock.monotonic() - arrived
            return await self._insist(
                "add_tasks",
                lambda: self.crud.add_tasks(tasks),
                None if began is None else began + waited,
                timeout=self._timeout * (1 + len(tasks) / _TASKS_PER_TIMEOUT) if len(tasks) > 1 else None,
            )
        finally:
            launches.leave(places)

    @property
    def longest_call(self) -> float:
        """Seconds after which a call has ended or was given up, even if it swallows its cancellation."""
        return 2 * self._timeout

    @property
    def has_room(self) -> bool:
        """Whether a launch would begin at once; `start` is for those that would."""
        return self._launch_queue().has_room(1)

    async def start(self, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run *work*, which calls ``start_task`` once, as every operation here: to its end, by the deadline of one call."""
        launches = self._launch_queue()
        await launches.enter(1)
        try:
            return await self._call("start_task", work)
        finally:
            launches.leave(1)

    def _launch_queue(self) -> LaunchQueue:
        if self._launches is None or self._launches.home != Home.here():
            self._launches = LaunchQueue(
                self._timeout * (1 - 1 / _SLICES)
            )  # the last try begins before the deadline
        return self._launches

    async def claim(self, request: ClaimRequest) -> Claims:
        return await self._call("claim_tasks", lambda: self.crud.claim_tasks(request))

    async def change(self, changes: Sequence[Change]) -> Sequence[Changed]:
        """One try; repeating it is safe under every guard, and whoever settles does so with patience."""
        return await self._call("change_tasks", lambda: self.crud.change_tasks(changes))

    async def renew(self, request: RenewRequest) -> Sequence[Renewed]:
        return await self._call("renew_leases", lambda: self.crud.renew_leases(request))

    async def find(self, query: TaskQuery) -> Sequence[StoredTask]:
        return await self._call("find_tasks", lambda: self.crud.find_tasks(query))

    async def ask(self, query: TaskQuery) -> Sequence[StoredTask]:
        """Find, repeated until the deadline of one call is over: for a person who waits for the answer."""
        return await self._insist("find_tasks", lambda: self.crud.find_tasks(query))

    async def decide(self, change: Change) -> Changed:
        """Change one task, repeated until the deadline of one call is over: for a person who waits."""
        return (await self._insist("change_tasks", lambda: self.crud.change_tasks([change])))[0]

    def within(self, transaction: object, committed: Callable[[], object]) -> JoinedStore:
        """Writes that join a transaction of the caller's: neither shielded, nor bounded, nor repeated by us.

        Raises:
            TransactionError: the backend cannot join it, or cannot join any.
        """
        if not self.crud.capabilities.joins_transactions:
            raise TransactionError(
                transaction=repr(transaction),
                problem=f"{type(self.crud).__name__} joins none",
                remedy="Launch after the transaction has committed.",
            )
        return self.crud.within(transaction, committed)

    async def close(self) -> None:
        """Wait for the calls whose callers are gone, and shut the backend down, within the deadline of a call.

        Raises:
            StoreUnavailableError: it did not answer; there is nothing more to be done.
        """
        self._forget_dead_calls()
        self._turn_away("it was closed before the turn of this launch came")
        if not self.clock.moves_by_itself:
            with suppress(StillBusyError):  # a body that cannot be stopped keeps no store open
                await self.clock.settle()
            await self.let_go()  # their deadline would never come
        if self._calls:
            await asyncio.wait(set(self._calls), timeout=2 * self._timeout)
        await self._call("shutdown", self.crud.shutdown)

    async def let_go(self) -> None:
        """Cancel the calls that are under way; their connections go with them. The backend itself stays open."""
        for call in self._calls:
            call.cancel()
        if self._calls:
            await asyncio.wait(set(self._calls), timeout=self._timeout)

    def _forget_dead_calls(self) -> None:
        """Forget calls on a loop that is over, or in another process: they will not end."""
        here = Home.here()
        if self._home != here and not (self._home is not None and self._home.is_alive):
            self._home, self._calls = here, set()

    # --- how ------------------------------------------------------------------------------------

    async def _insist(
        self,
        what: str,
        make: Callable[[], Coroutine[Any, Any, T]],
        began: float | None = None,
        *,
        timeout: float | None = None,
    ) -> T:
        now, timeout = self.clock.monotonic(), self._timeout if timeout is None else timeout
        give_up = (now if began is None else began) + timeout
        left = max(give_up - now, timeout / _SLICES)
        problems: list[StoreUnavailableError] = []
        while True:
            try:
                return await self._call(what, make, within=left)
            except StoreUnavailableError as problem:
                problems.append(problem)
                pause = _AGAIN.delay(len(problems), 1.0).total_seconds()
                left = give_up - self.clock.monotonic() - pause
                if left <= 0:
                    raise _in_all(what, problems, timeout) from problem
                await self.clock.sleep(pause)

    async def _call(
        self, what: str, make: Callable[[], Coroutine[Any, Any, T]], *, within: float | None = None
    ) -> T:
        timeout = self._timeout if within is None else within
        self._forget_dead_calls()
        answer: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        call = asyncio.create_task(self._answered(what, make))
        self._calls.add(call)

        def give_up() -> None:
            if not answer.done():
                problem = f"no answer within {timeout:.3g} s"
                answer.set_exception(StoreUnavailableError(operation=what, problem=problem))

        def ended(call: asyncio.Task[T]) -> None:
            self._calls.discard(call)
            error = None if call.cancelled() else call.exception()
            if call.cancelled():
                give_up()
            elif answer.done():
                pass  # whoever asked is gone
            elif error is not None:
                answer.set_exception(error)
            else:
                answer.set_result(call.result())

        call.add_done_callback(ended)
        _Deadline(call, give_up, self.clock.monotonic, self.clock.call_at, timeout / _SLICES)
        return await answer

    async def _answered(self, what: str, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        began = self.clock.monotonic()
        try:
            with self.clock.busy(f"the store ({what})"):
                answer = await make()
        except (StoreUnavailableError, asyncio.CancelledError):
            if self._failing_since is None:
                self._failing_since = began
            if self._launch_queue().failed(began, self.clock.monotonic()):
                self._turn_away("the store is down, and did not come back before the turn of this launch")
            raise
        if self._in_outage():
            self._reached_since = self.clock.monotonic()
        self._failing_since = None
        if self._launches is not None:
            self._launches.succeeded(self.clock.monotonic())
        return answer

    def _in_outage(self) -> bool:
        since = self._failing_since
        return since is not None and self.clock.monotonic() - since > self._outage_after

    def _turn_away(self, problem: str) -> None:
        if self._launches is not None:
            self._launches.turn_away(lambda: _turned_away(problem))


def _in_all(what: str, problems: Sequence[StoreUnavailableError], timeout: float) -> StoreUnavailableError:
    """What to say after so many tries: the first one had the most time to find out what is wrong."""
    first, last = problems[0], problems[-1]
    if len(problems) == 1:
        return first
    problem = f"{first.problem} (tried {len(problems)} times in {timeout:g} s)"
    return StoreUnavailableError(operation=what, problem=problem, busy=last.busy)


def _turned_away(problem: str) -> StoreUnavailableError:
    return StoreUnavailableError(operation="add_tasks", problem=problem)


class _Deadline:
    """Cancels a call when its slices are used up, and gives it up after as many more; written by the call's loop."""

    def __init__(
        self,
        call: asyncio.Task[Any],
        give_up: Callable[[], object],
        monotonic: Callable[[], float],
        call_at: Callable[[float, Callable[[], object]], Any],
        slice_seconds: float,
    ) -> None:
        self._call, self._give_up = call, give_up
        self._monotonic, self._call_at, self._slice = monotonic, call_at, slice_seconds
        self._left = _SLICES
        self._timer = call_at(monotonic() + slice_seconds, self._tick)
        call.add_done_callback(lambda _: self._timer.cancel())

    def _tick(self) -> None:
        self._left -= 1
        if self._call.done():
            return
        if self._left == 0:
            self._call.cancel()
        if self._left > -_SLICES:
            self._timer = self._call_at(self._monotonic() + self._slice, self._tick)
        else:
            self._give_up()  # it swallows its cancellation


def refuse_newer(crud: BaseCRUD) -> None:
    """Raise `BackendTooNewError` if the backend counts on being asked what this core does not know."""
    # An older backend is welcome: the protocol grows only by what has a default.
    if crud.protocol > BaseCRUD.protocol:
        kind = type(crud)
        raise BackendTooNewError(
            backend=f"{kind.__module__}.{kind.__qualname__}", needs=crud.protocol, speaks=BaseCRUD.protocol
        )
