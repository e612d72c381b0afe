"""Arithmetic with instants that never leaves the calendar."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_LAST: Final = datetime.max.replace(tzinfo=UTC)


def later(instant: datetime, duration: timedelta) -> datetime:
    """*instant* plus *duration*; the last instant there is, where that lies beyond it."""
    return instant + duration if duration < _LAST - instant else _LAST
