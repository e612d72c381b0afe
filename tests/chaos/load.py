"""What a run's tasks are, who launches them, and who cancels and retries some of them by hand."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

from kapusta import Kapusta, LaunchUnknownError, Task
from kapusta.backend import StoreUnavailableError
from kapusta_sqlalchemy import AlchemyCRUD
from tests.chaos.bodies import KINDS, Orders, register
from tests.chaos.events import Launch, Stored
from tests.chaos.journal import Journal
from tests.chaos.phases import Snare
from tests.chaos.recording import RecordingCRUD

_KNOWN: Final = 200
"""So many of the last tasks are there to be cancelled or retried."""


class Load:
    """Launches tasks from this process, through a connection that is as bad as those of the workers.

    Attributes:
        rate: how many launches there are in a second.
    """

    def __init__(
        self, url: str, journal: Journal, chance: random.Random, *, rate: float, only: str | None = None
    ) -> None:
        self._journal, self._chance = journal, chance
        self.rate, self._only = rate, only
        crud = RecordingCRUD(AlchemyCRUD(url), journal, Snare(journal))
        self._kapusta = Kapusta(crud, store_timeout=3)
        self._tasks: dict[str, Task[..., Any]] = register(self._kapusta)
        self._serial = 0
        self._known: list[int] = []
        self._sending: set[asyncio.Task[None]] = set()
        self._problems: list[BaseException] = []

    async def startup(self) -> None:
        """Open the store."""
        await self._kapusta.crud.startup()

    async def go_on(self, over: asyncio.Event) -> None:
        """Launch, cancel and retry until it is over, and then until the last answer is there; ends with a shutdown."""
        try:
            while not over.is_set():
                self._send(self._launch())
                if self._known and self._chance.random() < 1 / 8:
                    self._send(self._lay_hands_on(self._chance.choice(self._known)))
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._chance.uniform(0, 2 / self.rate)):
                        await over.wait()
            if self._sending:
                await asyncio.wait(self._sending)
        finally:
            for sending in self._sending:
                sending.cancel()
            await self._kapusta.shutdown()
        if self._problems:
            raise self._problems[0]

    async def launch(self, name: str, seconds: float) -> None:
        """One task that just takes its time."""
        await self._store_one(name, Orders(seconds=seconds, failing=0, hold=False), attempts=0, insists=True)

    def _send(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._sending.add(task)
        task.add_done_callback(self._sent)

    def _sent(self, task: asyncio.Task[None]) -> None:
        self._sending.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._problems.append(error)

    async def _launch(self) -> None:
        chance = self._chance
        (name,) = chance.choices(list(KINDS), [kind.weight for kind in KINDS.values()])
        seconds = round(chance.uniform(0, KINDS[name].longest), 3)
        orders = Orders(seconds=seconds, failing=chance.choice([0, 0, 1, 2]), hold=chance.random() < 1 / 3)
        attempts, insists = chance.choice([0, 0, 1, 3]), chance.random() < 1 / 2
        if self._only is not None:
            name, orders = self._only, Orders(seconds=0, failing=0, hold=False)
        handle = await self._store_one(name, orders, attempts=attempts, insists=insists)
        if handle is not None and self._only is None:
            self._known = [*self._known[-_KNOWN:], handle]

    async def _store_one(self, name: str, orders: Orders, *, attempts: int, insists: bool) -> int | None:
        self._serial += 1
        serial = self._serial
        task = self._tasks[name].with_options(
            max_retry_attempts=attempts, on_crash="hold" if orders.hold else "retry"
        )
        self._journal.write(Launch(serial=serial, name=name, attempts=attempts, hold=orders.hold))
        handle = await _insisting(task.launch(serial=serial, orders=orders), insists=insists)
        if handle is None:
            return None
        self._journal.write(Stored(serial=serial, task=int(handle)))
        return int(handle)

    async def _lay_hands_on(self, task_id: int) -> None:
        handle = self._kapusta.handle(task_id)
        with suppress(StoreUnavailableError):  # done or not: the history has it as unknown
            await (handle.cancel() if self._chance.random() < 1 / 2 else handle.retry())


async def _insisting(sending: Coroutine[Any, Any, int], *, insists: bool) -> int | None:
    """Launch, and who *insists* launches again until the answer is there; ``None``: nobody knows, and nobody asks."""
    while True:
        try:
            return await sending
        except LaunchUnknownError as unknown:
            if not insists:
                return None
            sending = unknown.launch_again()
