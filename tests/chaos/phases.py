"""Deaths at a chosen place: a worker is told where it is to die, and is gone by SIGKILL when it gets there."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import threading
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from tests.chaos.events import Death
from tests.chaos.journal import Journal

T = TypeVar("T")

PHASES: Final = ("claimed", "running", "settling", "renewing")
POINTS: Final = ("before", "during", "after")
"""Of a call to the store: before it is sent, at some moment while it is under way, and before its answer is heard of."""

_LONGEST: Final = 0.008
"""So many seconds after it was sent a call is cut short, at most."""


class Snare:
    """Where this process is to die, once it knows; set by one thread, met by any."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._lock = threading.Lock()
        self._set: tuple[str, str] | None = None

    def set(self, phase: str, point: str) -> None:
        """From now on, wait for *phase*."""
        with self._lock:
            self._set = phase, point

    def met(self, phase: str) -> str | None:
        """The point in *phase* at which to die: from now on it is sure."""
        with self._lock:
            if self._set is None or self._set[0] != phase:
                return None
            _, point = self._set
            self._set = None
            return point

    def die(self, phase: str, point: str) -> None:
        """As by `kill -9` from outside, and no later than now."""
        self._journal.write(Death(phase=phase, point=point))
        os.kill(os.getpid(), signal.SIGKILL)

    def pass_through(self, phase: str) -> None:
        """Be in *phase*, here."""
        if (point := self.met(phase)) is not None:
            self.die(phase, point)

    async def pass_around(self, phase: str, call: Callable[[], Awaitable[T]]) -> T:
        """Be in *phase* while *call* is."""
        point = self.met(phase)
        if point is None:
            return await call()
        if point == "before":
            self.die(phase, point)
        underway = asyncio.ensure_future(call())
        if point == "during":
            await asyncio.wait([underway], timeout=random.uniform(0, _LONGEST))
            self.die(phase, point)
        answer = await underway
        self.die(phase, point)
        return answer
