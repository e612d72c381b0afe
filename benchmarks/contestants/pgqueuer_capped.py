"""PgQueuer with no more concurrent tasks than there are slots."""

from __future__ import annotations

from benchmarks.contestants.pgqueuer import BODIES, Contestant
from benchmarks.contestants.stage import perform

if __name__ == "__main__":
    perform(Contestant(capped=True), BODIES)
