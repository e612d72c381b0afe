"""A thread with a loop of its own, on the twin."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Coroutine, Sequence
from datetime import timedelta
from typing import Any, Final, cast

from .._crud import BaseCRUD, WakeKind
from .._errors import StoreUnavailableError
from .._events import LogEvent, log_event
from .._store import Store
from ..types import TaskId
from ._keeper import RETRIES_PER_LEASE, Keeper, Lease, Renewals, Stop
from ._supervisor import Failures, supervise

Wake = Callable[[WakeKind], None]

DROPPING: Final = 0.05
"""Seconds after which the keeper hears at the latest of what it need not keep any more."""

ENDING: Final = 30.0
"""Seconds that a keeper has to let go of its store."""


class KeeperRoom:
    """Where a keeper lives: all that must go on while the worker's own loop may stand still.

    Lives on one loop: a thread's, or the worker's own where time cannot pass meanwhile.
    """

    def __init__(
        self,
        crud: BaseCRUD,
        worker: str,
        lease: timedelta,
        timeout: timedelta,
        stop: Stop,
        renewed: Renewals,
        wake: Wake,
        logger: logging.Logger,
    ) -> None:
        self._store = Store(crud, timeout=min(timeout, lease / 3), outage_after=lease / 3)
        self.keeper = Keeper(self._store, worker, lease, stop, renewed, logger)
        self._crud, self._wake, self._logger = crud, wake, logger
        self._longest_pause = lease.total_seconds() / RETRIES_PER_LEASE

    async def live(self, *, is_twin: bool) -> None:
        """Keep leases and listen until cancelled; a twin is started and shut down here."""
        clock, logger = self._crud.clock, self._logger
        opened = asyncio.Event()

        async def open_twin(failures: Failures) -> None:
            if is_twin:
                await self._crud.startup()
            opened.set()
            failures.succeeded()
            await asyncio.get_running_loop().create_future()

        async def renew(failures: Failures) -> None:
            await opened.wait()
            await self.keeper.renew_loop(failures)

        async def listen(failures: Failures) -> None:
            await opened.wait()
            async with self._crud.listen(self._wake):
                failures.succeeded()
                if is_twin:
                    self._wake(
                        "work"
                    )  # what others have stored since the first claim, and nobody was listening yet
                await asyncio.get_running_loop().create_future()

        loops: list[tuple[str, Callable[[Failures], Coroutine[Any, Any, None]]]] = [
            ("Opening the store for the lease keeper", open_twin),
            ("Renewing leases", renew),
            ("Watching leases", self.keeper.watch_loop),
        ]
        if self._crud.capabilities.pushes_wakeups:
            loops.append(("Listening for wake-ups", listen))
        try:
            async with asyncio.TaskGroup() as group:
                for what, loop in loops:
                    group.create_task(supervise(what, loop, clock, logger, longest=self._longest_pause))
        finally:
            await self._store.let_go()  # a renewal that hangs keeps nobody
            if is_twin:
                await self._close()

    async def _close(self) -> None:
        try:
            await self._store.close()
        except StoreUnavailableError as problem:
            what = "The lease keeper's handle to the store could not be closed: %s"
            log_event(self._logger, LogEvent.store_not_closed, what, problem)


class KeeperThread:
    """A `KeeperRoom` in a daemon thread; used by the worker's loop, which is the only one to post to it.

    *died* is called on that loop if the keeper ends although nobody has stopped it.
    """

    def __init__(self, room: KeeperRoom, died: Callable[[], object], logger: logging.Logger) -> None:
        self._room, self._died, self._logger = room, died, logger
        self._is_started = self._is_to_stop = False
        self._living: tuple[asyncio.AbstractEventLoop, asyncio.Task[None]] | None = None
        self._begun, self._over = asyncio.Event(), asyncio.Event()
        self._keeps: list[Lease] = []
        self._drops: list[tuple[TaskId, int]] = []
        self._due: asyncio.Handle | None = None

    async def start(self) -> None:
        """Start the thread, and return when it takes posts, or has died before."""
        worker_loop = asyncio.get_running_loop()

        async def live() -> None:
            life = cast("asyncio.Task[None]", asyncio.current_task())
            worker_loop.call_soon_threadsafe(self._begin, asyncio.get_running_loop(), life)
            await self._room.live(is_twin=True)

        def main() -> None:
            try:
                asyncio.run(live())
            except asyncio.CancelledError:
                pass  # stop() asked for it
            except BaseException as error:  # noqa: BLE001 - logged with what it is; the worker stops everything
                what = "The lease keeper ended: no lease is renewed any more"
                log_event(self._logger, LogEvent.keeper_ended, what, exc_info=error)
                call_threadsafe(worker_loop, self._died)
            finally:
                call_threadsafe(worker_loop, self._end)

        threading.Thread(target=main, name="kapusta-keeper", daemon=True).start()
        self._is_started = True
        await self._begun.wait()
        self._send()  # what was posted meanwhile

    def _begin(self, loop: asyncio.AbstractEventLoop, life: asyncio.Task[None]) -> None:
        self._living = loop, life
        self._begun.set()
        if self._is_to_stop:
            call_threadsafe(loop, life.cancel)

    def _end(self) -> None:
        self._over.set()
        self._begun.set()  # whoever waits for it waits for nothing

    def keep(self, leases: Sequence[Lease]) -> None:
        # At once: what runs next may block this loop for longer than a lease.
        if not self._keeps:
            if self._due is not None:
                self._due.cancel()
            self._due = asyncio.get_running_loop().call_soon(self._send)
        self._keeps += leases

    def drop(self, task_id: TaskId, run: int) -> None:
        # Waking another thread costs a system call, and nothing is lost by asking for a lease that is over.
        if self._due is None:
            self._due = asyncio.get_running_loop().call_later(DROPPING, self._send)
        self._drops.append((task_id, run))

    async def stop(self) -> None:
        """End the thread, also one that has only just begun, and return when it has ended, or will not."""
        if not self._is_started:
            return
        self._send()
        self.abandon()
        try:
            async with asyncio.timeout(ENDING):
                await self._over.wait()
        except TimeoutError:
            what = "The lease keeper did not end within %g s; it is left behind"
            log_event(self._logger, LogEvent.keeper_left_behind, what, ENDING)

    def abandon(self) -> None:
        """Have the thread end, without waiting for it: the worker's loop is over."""
        self._is_to_stop = True
        if self._living is not None:
            loop, life = self._living
            call_threadsafe(loop, life.cancel)

    def _send(self) -> None:
        self._due = None
        if (self._keeps or self._drops) and self._living is not None:
            keeps, self._keeps = self._keeps, []
            drops, self._drops = self._drops, []
            call_threadsafe(self._living[0], self._apply, keeps, drops)

    def _apply(self, keeps: list[Lease], drops: list[tuple[TaskId, int]]) -> None:
        keeper = self._room.keeper
        if keeps:
            keeper.keep(keeps)
        for drop in drops:
            keeper.drop(*drop)


def call_threadsafe(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: object) -> None:
    """Call *callback* on another thread's loop, unless that loop is gone, and with it whoever would care."""
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:
        if not loop.is_closed():
            raise
