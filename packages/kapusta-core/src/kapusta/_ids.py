"""Ids that rise, from time and chance."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

_EPOCH: Final = datetime(2024, 1, 1, tzinfo=UTC)
_CHANCE_BITS: Final = 21
_MAX_ID: Final = (1 << 63) - 1
_TIME_BITS: Final = 63 - _CHANCE_BITS  # milliseconds: enough for 139 years


class Ids:
    """Makes ids and tokens; may be used from any thread, under its own lock.

    An id has 63 bits: milliseconds since 2024 and a random rest. Within a process each is greater than the
    one before, even if the clock goes back. Two processes draw the same id about once in two million tries
    of the same millisecond; the token tells them apart, and the loser draws again.
    """

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._last = 0
        self._lock = threading.Lock()

    def draw(self) -> int:
        """A new id."""
        return self.draw_many(1)[0]

    def draw_many(self, count: int) -> range:
        """Return *count* new ids, each one greater than the one before.

        Two runs of consecutive ids overlap far less often than two sets of as many random ids.
        """
        milliseconds = int((self._now() - _EPOCH).total_seconds() * 1000) & ((1 << _TIME_BITS) - 1)
        fresh = milliseconds << _CHANCE_BITS | secrets.randbits(_CHANCE_BITS)
        with self._lock:
            first = min(max(fresh, self._last + 1), _MAX_ID + 1 - count)
            self._last = first + count - 1
            return range(first, first + count)


def new_token() -> str:
    """Random text that tells one launch, or one worker, from all others."""
    return secrets.token_hex(16)
