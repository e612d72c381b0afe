"""Seconds or a timedelta, checked."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest

from kapusta import KapustaValueError
from kapusta._durations import as_optional_timedelta, as_timedelta


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, timedelta(0)),
        (-0.0, timedelta(0)),
        (90, timedelta(seconds=90)),
        (0.25, timedelta(milliseconds=250)),
        (timedelta(days=3), timedelta(days=3)),
        (timedelta.max, timedelta.max),
    ],
)
def test_seconds_and_timedeltas_mean_the_same(value: Any, expected: timedelta) -> None:
    """Every public duration takes both, so that nobody has to remember which one this is."""
    assert as_timedelta("timeout", value) == expected


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        (-1, "is negative"),
        (-0.001, "is negative"),
        (timedelta(microseconds=-1), "is negative"),
        (float("nan"), "is not a number"),
        (float("inf"), "is infinite"),
        (float("-inf"), "is infinite"),
        (1e18, "is too long"),
        (10**400, "is too long"),
        (True, "is no duration"),
        ("60", "is no duration"),
        (Decimal(60), "is no duration"),
        ([60], "is no duration"),
    ],
)
def test_what_is_no_duration_is_refused_by_its_option_and_its_value(value: Any, problem: str) -> None:
    """The message says which option of which value is wrong, and what to give instead."""
    with pytest.raises(KapustaValueError) as caught:
        as_timedelta("grace", value)

    assert (caught.value.option, caught.value.problem) == ("grace", problem)
    assert str(caught.value).startswith(f"grace={value!r} {problem}. Give ")


def test_none_stays_none_where_there_may_be_no_limit() -> None:
    """``None`` is the absence of a limit, and is not mistaken for zero."""
    assert as_optional_timedelta("timeout", None) is None
    assert as_optional_timedelta("timeout", 0) == timedelta(0)
