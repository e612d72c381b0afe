"""What a worker costs that has nothing to do."""

from __future__ import annotations

from datetime import timedelta

from kapusta._worker._housekeeper import rescue_checks
from kapusta_sqlalchemy._dialects._postgresql import _listening


def test_an_idle_worker_makes_ten_transactions_a_minute() -> None:
    """Rescue checks, claims and the listener's questions, with a lease of thirty seconds; the tenth is to spare."""
    lease = timedelta(seconds=30)
    leases = 60 / lease.total_seconds()

    assert leases * rescue_checks(lease) + leases + 60 / _listening.PERIOD <= 9
