"""Seconds or a timedelta, checked."""

from __future__ import annotations

import math
from datetime import timedelta

from ._clock import ZERO
from ._errors import KapustaValueError
from .types import Duration

_REMEDY = "Give seconds or a timedelta, zero or more."


def as_timedelta(option: str, value: Duration) -> timedelta:
    """The duration that *value* says, in seconds or as a ``timedelta``.

    Raises:
        KapustaValueError: it is negative, not a number, infinite, larger than a ``timedelta`` or no duration.
    """
    if isinstance(value, timedelta):
        duration = value
    elif isinstance(value, bool) or not isinstance(value, (int, float)):
        raise KapustaValueError(option=option, value=value, problem="is no duration", remedy=_REMEDY)
    elif value != value:  # noqa: PLR0124 - NaN alone is not equal to itself; math.isnan fails on large integers
        raise KapustaValueError(option=option, value=value, problem="is not a number", remedy=_REMEDY)
    else:
        try:
            duration = timedelta(seconds=value)
        except OverflowError:
            problem = "is infinite" if value in (math.inf, -math.inf) else "is too long"
            raise KapustaValueError(
                option=option, value=value, problem=problem, remedy="Give None for no limit."
            ) from None
    if duration < ZERO:
        raise KapustaValueError(option=option, value=value, problem="is negative", remedy=_REMEDY)
    return duration


def as_optional_timedelta(option: str, value: Duration | None) -> timedelta | None:
    """Like `as_timedelta`; ``None`` stays ``None``."""
    return None if value is None else as_timedelta(option, value)


def as_positive_timedelta(option: str, value: Duration) -> timedelta:
    """Like `as_timedelta`; zero is refused as well."""
    duration = as_timedelta(option, value)
    if not duration:
        raise KapustaValueError(option=option, value=value, problem="is zero", remedy="Give more than zero.")
    return duration
