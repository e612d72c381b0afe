"""A queue in which launches wait until the store has room for them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from typing import Final

from ._home import Home

PLACES: Final = 16
"""Launches that are under way at once: enough to keep a pool busy, and few enough for a claim to come between."""
TASKS_PER_PLACE: Final = 1000
"""A larger batch takes more places, so that a launch never waits behind many large ones by its deadline."""


class LaunchQueue:
    """Bounds how many launches are under way; the others wait, first come, first served, before their deadlines begin.

    Belongs to the event loop that it was made on. It hears of every call to the store: if all of them have failed for
    as long as one launch tries, the store is down, and no launch waits.
    """

    def __init__(self, longest: float) -> None:
        self.home = Home.here()
        self._longest = longest
        """For how many seconds one launch tries."""
        self._failing_since: float | None = None
        self._failed_at = self._answered_at = -inf
        self._free = PLACES
        self._waiting: deque[tuple[asyncio.Future[None], int]] = deque()

    def has_room(self, places: int) -> bool:
        """Return whether a launch of this size need not wait."""
        return not self._waiting and places <= self._free

    async def enter(self, places: int) -> None:
        """Take *places*, once every earlier launch has taken its own."""
        if self.has_room(places):
            self._free -= places
            return
        turn: asyncio.Future[None] = self.home.loop.create_future()
        self._waiting.append((turn, places))
        try:
            await turn
        except BaseException:
            if turn.done() and not turn.cancelled() and turn.exception() is None:
                self._free += places  # its turn had come as it was cancelled
            self._let_in()
            raise

    def leave(self, places: int) -> None:
        """Give *places* back, and let in the launches that they are enough for."""
        self._free += places
        self._let_in()

    def failed(self, began: float, now: float) -> bool:
        """Note that a call which *began* then has failed *now*; return whether the store is down."""
        # After a time without any call nothing is known: a connection that has gone stale meanwhile is not an outage.
        if self._failing_since is None or began - self._failed_at > self._longest:
            self._failing_since = max(began, self._answered_at)
        self._failed_at = now
        return self.is_down(now)

    def succeeded(self, now: float) -> None:
        """Note that a call has been answered."""
        self._failing_since, self._answered_at = None, now

    def is_down(self, now: float) -> bool:
        """Return whether every call has failed for so long, the last one just now."""
        since = self._failing_since
        return since is not None and self._failed_at - since >= self._longest >= now - self._failed_at

    def turn_away(self, problem: Callable[[], Exception]) -> None:
        """Raise a *problem* in every launch that waits."""
        while self._waiting:
            turn, _ = self._waiting.popleft()
            if not turn.done():
                turn.set_exception(problem())

    def _let_in(self) -> None:
        while self._waiting:
            turn, places = self._waiting[0]
            if not turn.done():
                if places > self._free:
                    return
                self._free -= places
                turn.set_result(None)
            self._waiting.popleft()


def places_of(tasks: int) -> int:
    """Return how many places a launch of so many tasks takes; the largest takes all of them."""
    return min(max(1, -(-tasks // TASKS_PER_PLACE)), PLACES)
