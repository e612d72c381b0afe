"""A short run on each engine: every kind of fault that it can meet, and nothing is lost or done in another's name."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.chaos.engines import ENGINES
from tests.chaos.figures import FAULTS, table
from tests.chaos.phases import PHASES
from tests.chaos.run import Plan, run

SEED = 20260727

ON_WORKERS = {"kill", "freeze", *(f"kill {phase}" for phase in PHASES)}
OF_A_SERVER = {"restart", "drop", "lost reply", "black hole"}


@pytest.mark.timeout(300)  # a third of a minute is enough, unless the machine has much else to do
@pytest.mark.parametrize("engine", sorted(ENGINES))
async def test_nothing_is_lost_in_a_storm(
    engine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Killed, frozen, cut off and restarted: every launch ends, each outcome is its own run's, and it drains by itself."""
    outcome = await run(Plan(engine=engine, seed=SEED), tmp_path)

    figures = outcome.figures
    with capsys.disabled():
        print(f"\nseed {SEED}\n{table({engine: figures.lines()})}")
    expected = ON_WORKERS | (OF_A_SERVER if engine != "sqlite" else {"full"})
    assert figures.violations == []
    assert {kind for kind in expected if not figures.faults[kind]} == set()
    assert figures.faults.keys() <= set(FAULTS), "the table does not tell of all"
    assert {
        phase for phase in PHASES if not sum(n for (at, _), n in figures.deaths.items() if at == phase)
    } == set()
    assert figures.refused > 0
