"""Real time, as the machine tells it."""

from __future__ import annotations

import sys
import time

import pytest

from kapusta.backend import SystemClock


@pytest.mark.skipif(sys.platform not in ("linux", "darwin"), reason="its monotonic clock has no number here")
def test_a_machine_that_is_suspended_does_not_stop_the_clock_of_leases(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of Linux's clocks it is CLOCK_BOOTTIME, of macOS's CLOCK_MONOTONIC, that count the time of a suspension."""
    counts_suspension = time.CLOCK_BOOTTIME if sys.platform == "linux" else time.CLOCK_MONOTONIC
    monkeypatch.setattr(time, "clock_gettime", {counts_suspension: 17.0}.__getitem__)

    assert SystemClock().monotonic() == 17.0
