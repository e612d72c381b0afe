"""The life cycle of a Kapusta: its workers, started and stopped on one loop at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from ._crud import BaseCRUD
from ._errors import StillStartedError, StoreNotStartedError, StoreUnavailableError
from ._events import LogEvent, log_event
from ._home import Home
from ._records import NewTask, TaskQuery
from ._role import refuse_in_import
from ._store import Store
from ._worker import Worker


class Host:
    """Starts, replaces and stops the workers of one Kapusta; written by the loop that started it.

    A worker that was told to stop, or that belongs to another process or loop, is replaced and never used again.
    """

    def __init__(
        self,
        store: Store,
        make_worker: Callable[[], Worker],
        listening: Callable[[], Coroutine[Any, Any, None]],
        logger: logging.Logger,
    ) -> None:
        self._store, self._make_worker, self._listen, self._logger = store, make_worker, listening, logger
        self._lifecycle: tuple[Home, asyncio.Lock] | None = None
        self._worker: Worker | None = None
        self._listening: asyncio.Task[None] | None = None
        self._helpers: dict[Worker, asyncio.Task[None]] = {}  # for `run_until_idle`, or stopping

    # --- as `Kapusta` offers it -----------------------------------------------------------------

    async def startup(self) -> None:
        refuse_in_import("startup()")
        self._leave_other_home()
        async with self._one_at_a_time():
            await self._store.crud.startup()
            self.create_listening_task()

    async def shutdown(self) -> None:
        self._leave_other_home()
        async with self._one_at_a_time():
            # Forgotten only when it has ended: a listening task that has not had its first turn is still to find it.
            if self._worker is not None:
                await self._worker.stop()
            for helper in list(self._helpers):
                await helper.stop()
            if working := {task for task in (self._listening, *self._helpers.values()) if task is not None}:
                await asyncio.wait(working)
            self._worker = self._listening = None
            try:
                await self._store.close()
            except StoreUnavailableError as problem:
                log_event(
                    self._logger, LogEvent.store_not_closed, "The store could not be closed: %s", problem
                )

    async def listening(self) -> None:
        self._leave_other_home()
        await self._ready_worker().run()

    def create_listening_task(self) -> None:
        refuse_in_import("create_listening_task()")
        self._leave_other_home()
        if self._worker is not None and self._worker.is_told_to_stop:
            self._finish_stopping(self._worker, self._listening)
            self._worker = self._listening = None
        if not self._is_listening:
            self._worker = None
            self._ready_worker()
            self._listening = asyncio.create_task(self._listen(), name="kapusta.listening")
            self._listening.add_done_callback(self._report_end)
        else:
            self._ready_worker().resume()

    def stop_listening_task(self) -> None:
        if self._worker is not None:
            self._worker.pause()

    async def run_until_idle(self) -> None:
        self._leave_other_home()
        if self._is_listening and self._worker is not None and not self._worker.is_told_to_stop:
            await self._worker.until_idle()
            return
        await self._store.find(TaskQuery(limit=1))  # says so at once where the store is not started
        worker = self._make_worker()
        worker.pause()  # it claims when it is told to, and not by itself
        listening = asyncio.create_task(worker.run(), name="kapusta.run_until_idle")
        self._helpers[worker] = listening
        try:
            await worker.until_idle()
        finally:
            await worker.stop()
            await asyncio.wait({listening})
            self._helpers.pop(worker, None)

    # --- for the other parts --------------------------------------------------------------------

    def wake(self) -> None:
        """There may be something to claim."""
        if self._worker is not None and not self._worker.home.is_over:
            self._worker.wake()

    async def start_new(self, task: NewTask) -> bool:
        """Store a new task and start it here, in one write; ``False``: it is not stored, or the reply was lost."""
        worker = self._worker
        return worker is not None and worker.home == Home.here() and await worker.start_new(task)

    def change_store(self, crud: BaseCRUD) -> None:
        """Work on another store from now on.

        Raises:
            StillStartedError: a worker is at work on the one before.
        """
        self._forget([worker for worker in self._workers() if worker.home.is_over])
        if self._worker is not None or self._listening is not None:
            raise StillStartedError
        self._store.change_backend(crud)

    # --- inside ---------------------------------------------------------------------------------

    @property
    def _is_listening(self) -> bool:
        return self._listening is not None and not self._listening.done()

    def _ready_worker(self) -> Worker:
        if self._worker is None or self._worker.is_over:
            self._worker = self._make_worker()
        return self._worker

    def _one_at_a_time(self) -> asyncio.Lock:
        """The lock of starting and stopping: one per event loop, since a lock that was waited for belongs to its loop."""
        home = Home.here()
        if self._lifecycle is None or self._lifecycle[0] != home:
            self._lifecycle = home, asyncio.Lock()
        return self._lifecycle[1]

    def _leave_other_home(self) -> None:
        """Forget workers of another process, or of a loop that is over: their bodies are not here.

        Raises:
            StoreNotStartedError: their loop still runs, in another thread.
        """
        here = Home.here()
        others = [worker for worker in self._workers() if worker.home != here]
        if any(worker.home.is_alive for worker in others):
            raise StoreNotStartedError(backend=type(self._store.crud).__name__, elsewhere=True)
        self._forget(others)

    def _workers(self) -> list[Worker]:
        return [worker for worker in (self._worker, *self._helpers) if worker is not None]

    def _forget(self, workers: Sequence[Worker]) -> None:
        """Forget workers that cannot work any more."""
        for worker in workers:
            worker.abandon()
            self._helpers.pop(worker, None)
            if worker is self._worker:
                self._worker = self._listening = None

    def _finish_stopping(self, worker: Worker, listening: asyncio.Task[None] | None) -> None:
        """Go on with a stop that was cut short: the worker settles what it runs, and takes nothing more."""

        async def finish() -> None:
            await worker.stop()
            if listening is not None:
                await asyncio.wait({listening})
            self._helpers.pop(worker, None)

        self._helpers[worker] = asyncio.create_task(finish(), name="kapusta.stopping")

    def _report_end(self, listening: asyncio.Task[None]) -> None:
        if not listening.cancelled() and (error := listening.exception()) is not None:
            log_event(
                self._logger, LogEvent.worker_ended, "The worker ended: %s", repr(error), exc_info=error
            )
