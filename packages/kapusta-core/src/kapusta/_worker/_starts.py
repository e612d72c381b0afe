"""Launches that are being stored as started, and the slots reserved for them."""

from __future__ import annotations

import asyncio

from .._records import NewTask
from .._slots import Slots
from ..types import TaskId


class Starts:
    """The starts under way, each with a slot of its mode; written by the worker's loop."""

    def __init__(self, slots: Slots) -> None:
        self._slots = slots
        self._tasks: set[TaskId] = set()
        self._none = asyncio.Event()
        self._none.set()

    @property
    def ids(self) -> frozenset[TaskId]:
        """The tasks that may be stored as started already, while the reply is on its way."""
        return frozenset(self._tasks)

    def begin(self, task: NewTask) -> None:
        """Reserve a slot."""
        self._slots.take(task.mode)
        self._tasks.add(task.id)
        self._none.clear()

    def end(self, task: NewTask) -> bool:
        """Return the slot; return whether it was still reserved."""
        if task.id not in self._tasks:
            return False
        self._tasks.remove(task.id)
        self._slots.give_back(task.mode)
        if not self._tasks:
            self._none.set()
        return True

    async def over(self, seconds: float) -> None:
        """Return when none is under way, or after *seconds*: a driver may swallow its cancellation."""
        await asyncio.wait({waiter := asyncio.ensure_future(self._none.wait())}, timeout=seconds)
        waiter.cancel()
