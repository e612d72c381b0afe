"""What is known of a run while it goes on."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Final

from tests.chaos.events import Answered, AnyEvent, Asked, Began, Claim, Ended
from tests.chaos.journal import Reader

_MARGIN: Final = 0.5
"""Seconds from a look to what follows from it."""
_PAUSE: Final = 0.1
"""Seconds between two looks, however often it is asked."""


class Watch:
    """Reads along; asked by whoever makes faults.

    Attributes:
        events: all that has been read.
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self.events: list[AnyEvent] = []
        self._looked = 0.0
        self._open: dict[int, dict[str, Began]] = defaultdict(dict)
        self._claims: dict[int, set[tuple[int, int]]] = defaultdict(set)
        self._rescues: dict[str, tuple[int, int]] = {}
        self._rescued: set[tuple[int, int]] = set()
        self._outcomes: set[str] = set()
        self._refused: Counter[int] = Counter()

    def look(self) -> Sequence[AnyEvent]:
        """Read on; answer all that has been read."""
        for event in self._reader.new():
            self.events.append(event)
            match event:
                case Began(pid=pid, nonce=nonce):
                    self._open[pid][nonce] = event
                case Ended(pid=pid, nonce=nonce):
                    self._open[pid].pop(nonce, None)
                case Claim(pid=pid, task=task, run=run):
                    self._claims[pid].add((task, run))
                case Asked(guard="expired", status="pending", key=key, task=task, run=run):
                    self._rescues[key] = task, run
                case Answered(key=key, answer="accepted") if key in self._rescues:
                    self._rescued.add(self._rescues[key])
                case Asked(guard="holder", key=key):
                    self._outcomes.add(key)
                case Answered(key=key, answer="refused", pid=pid) if key in self._outcomes:
                    self._refused[pid] += 1
        return self.events

    def is_at_work(self, pid: int) -> bool:
        """Whether in this process a body goes on that is going to answer too late, if the process is frozen now."""
        self._glance()
        soon = time.monotonic() + _MARGIN
        return any(body.until > soon for body in self._open[pid].values())

    def robbed(self, pid: int) -> int:
        """How many tasks that this process had claimed were rescued and are run again."""
        self._glance()
        return len(self._claims[pid] & self._rescued)

    def refused(self, pid: int) -> int:
        """How many outcomes this process was refused."""
        self._glance()
        return self._refused[pid]

    def _glance(self) -> None:
        if time.monotonic() - self._looked > _PAUSE:
            self.look()
            self._looked = time.monotonic()
