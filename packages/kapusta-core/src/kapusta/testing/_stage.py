"""The handles and the clock of one law."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, Self, TypeAlias, TypeVar

from kapusta._clock import Clock
from kapusta._crud import BaseCRUD
from kapusta._records import ClaimRequest

from .clock import ManualClock

T = TypeVar("T")

OpenBackend: TypeAlias = Callable[[Clock], BaseCRUD]
"""Gives a fresh handle, not started, to the storage of this test."""

Outage: TypeAlias = Callable[[], AbstractContextManager[object]]
"""Gives a context manager; the store is out of reach while it is entered."""


@dataclass(frozen=True, kw_only=True)
class Server:
    """A store on a socket, for laws that put a `Proxy` in front of it.

    Attributes:
        host: where the server listens.
        port: likewise.
        open_through: gives a fresh handle, not started, that connects to 127.0.0.1 at the port given instead, and
            otherwise leads where the handles of ``open_backend`` lead.
    """

    host: str
    port: int
    open_through: Callable[[int, Clock], BaseCRUD]


class Stage:
    """What a law is played on. Handles opened here share one storage and one clock, and are closed at the end.

    Attributes:
        clock: moved by ``clock.shift(hours=1)``. A store's own clock may run on meanwhile, so a law moves
            time by minutes and compares with a minute's slack.
    """

    def __init__(self, open_backend: OpenBackend) -> None:
        self.clock = ManualClock()
        self._open_backend = open_backend
        self._open: list[BaseCRUD] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for handle in self._open:
            await handle.shutdown()

    def fresh(self) -> BaseCRUD:
        """A handle that is not started; it is shut down at the end all the same."""
        return self.keep(self._open_backend(self.clock))

    def keep(self, handle: BaseCRUD) -> BaseCRUD:
        """Shut *handle* down at the end; return it."""
        self._open.append(handle)
        return handle

    async def open(self) -> BaseCRUD:
        """A started handle."""
        handle = self.fresh()
        await handle.startup()
        return handle

    async def open_all(self, number: int) -> list[BaseCRUD]:
        """Several started handles."""
        return [await self.open() for _ in range(number)]

    async def reach(self, store: BaseCRUD, **duration: float) -> None:
        """Move time by a duration, to the very instant for a store that lives by the stage's clock alone.

        A store whose own clock runs on may have it set right by a few milliseconds meanwhile, so there it is
        a second more.
        """
        self.clock.shift(**duration)
        if await self.now(store) != self.clock.now():
            self.clock.shift(seconds=1)

    @staticmethod
    async def now(store: BaseCRUD) -> datetime:
        """The store's own now."""
        nothing = ClaimRequest(worker="clock", lease=timedelta(minutes=1), slots={}, names=frozenset())
        return (await store.claim_tasks(nothing)).now


async def elsewhere(body: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run *body* to its end on an event loop of its own, in another thread."""
    return await asyncio.to_thread(lambda: asyncio.run(body()))


async def on_twin(store: BaseCRUD, body: Callable[[BaseCRUD], Coroutine[Any, Any, T]]) -> T:
    """Run *body* on a started twin of *store*, on an event loop of its own, in another thread."""
    twin = store.twin()

    async def run() -> T:
        await twin.startup()
        try:
            return await body(twin)
        finally:
            await twin.shutdown()

    return await elsewhere(run)
