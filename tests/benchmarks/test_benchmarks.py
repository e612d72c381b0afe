from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.entries import ENTRIES
from benchmarks.goals import GOALS
from benchmarks.page import PAGE, PART, PICTURES
from benchmarks.player import ContestantError, Player
from benchmarks.report import goals, tables
from benchmarks.results import MEASURES, Results
from tests.architecture.tree import ROOT

REQUIREMENTS = ROOT / "benchmarks" / "requirements"
WORKLOADS = {
    "memory": ["launch-one", "drain", "drain-large", "pick-up", "names", "idle", "import"],
    "sqlite": ["launch-many", "drain", "loaded"],
}
MEASURED = {
    "memory": {
        "kapusta": [
            *("launch one", "drain 5,000", "drain 20,000", "pick-up p50", "pick-up p99"),
            *("names: 1", "names: 100", "names: 1,000", "idle CPU", "idle memory", "import"),
        ]
    },
    "sqlite": {
        "kapusta": ["launch many", "drain 5,000", "table: empty", "table: loaded"],
        "sqlite3": ["launch many", "drain 5,000"],
    },
}
(KAPUSTA,) = [entry for entry in ENTRIES if (entry.name, entry.engine) == ("kapusta", "memory")]


@pytest.mark.parametrize("engine", list(MEASURED))
def test_a_quick_run_measures_what_it_is_told_to(engine: str, tmp_path: Path) -> None:
    """The whole benchmark is not run with each change; without this it would be found broken when it is needed."""
    file = tmp_path / "bench.json"
    words = ["--quick", "--here", "--json", str(file), "--engine", engine]
    words += [word for contestant in MEASURED[engine] for word in ("--contestant", contestant)]
    words += [word for workload in WORKLOADS[engine] for word in ("--workload", workload)]

    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 0, ran.stderr
    found = json.loads(file.read_text())
    measured = {(row["contestant"], row["measure"]) for row in found["results"]}
    assert measured == {(who, measure) for who, measures in MEASURED[engine].items() for measure in measures}
    assert all(value > 0 for row in found["results"] for value in row["rounds"] if row["unit"] == "a second")
    assert {goal["met"] for goal in found["goals"] if goal["engine"] == "postgresql"} == {None}


def test_a_part_of_a_run_does_not_renew_the_page() -> None:
    """The page would lose the figures of everything that was not measured."""
    words = ["--write-page", "--engine", "memory"]

    ran = subprocess.run(
        [sys.executable, "-m", "benchmarks", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert ran.returncode == 2
    assert "needs a whole run" in ran.stderr


def test_a_command_that_fails_is_reported_with_its_traceback() -> None:
    """A contestant that failed silently would be left out of a table, or have the figure of half its work."""
    with Player(KAPUSTA, Path(sys.executable)) as player, pytest.raises(ContestantError) as caught:
        player.ask("open", url="nowhere://", slots=1, names=0)

    assert "kapusta on memory" in str(caught.value)
    assert "KeyError: 'nowhere'" in str(caught.value)


def test_a_contestant_that_has_ended_is_reported() -> None:
    """The conductor would wait for a reply that cannot come."""
    with Player(KAPUSTA, Path("/bin/false")) as player:
        for _ in range(2):  # while it ends, and when it is gone: then the pipe is broken, also for `end()`
            with pytest.raises(ContestantError, match="ended"):
                player.ask("usage")


@pytest.mark.parametrize(
    ("value", "other", "met"), [(1_300.0, 1_000.0, True), (1_100.0, 1_000.0, False), (1_300.0, None, None)]
)
def test_a_goal_is_met_by_the_ratio_of_medians(value: float, other: float | None, met: bool | None) -> None:
    """A goal that says `yes` for another reason, or without a peer, is worse than none."""
    results = Results()
    for each in (1.0, value, 1e9):  # neither the mean nor the best
        results.add("postgresql", "kapusta", {"launch one": each})
    if other is not None:
        results.add("postgresql", "pgqueuer", {"launch one": other})

    first = GOALS[0]

    assert (first.text, first.limit) == ("launch one, to pgqueuer", 1.2)
    assert first.met(results) is met
    assert Results.from_json(results.as_json()).values == results.values


def test_pick_up_is_compared_with_the_best_peer_and_not_with_a_variant() -> None:
    """The goal is about those that run as Kapusta does, and about the best of them."""
    results = Results()
    for name, value in {"kapusta": 1.0, "pgqueuer": 4.0, "oban": 2.5, "pgqueuer, uvloop": 0.5}.items():
        results.add("postgresql", name, {"pick-up p50": value})
    (goal,) = [goal for goal in GOALS if goal.text == "pick-up p50, to the best peer"]

    assert goal.of(results) == pytest.approx(1.0 / 2.5)


def test_a_loaded_table_is_compared_by_time() -> None:
    """Rates are measured and times are promised: half the rate is twice the time."""
    results = Results()
    results.add("sqlite", "kapusta", {"table: empty": 3_000.0, "table: loaded": 1_500.0})
    (goal,) = [goal for goal in GOALS if goal.engine == "sqlite" and "loaded" in goal.text]

    assert goal.of(results) == 2.0
    assert goal.met(results) is False


def test_a_table_shows_the_multiple_of_kapustas_figure() -> None:
    """A reader compares ratios; one that is upside down says the opposite."""
    results = Results()
    results.add("postgresql", "kapusta", {"drain 5,000": 10_000.0})
    results.add("postgresql", "oban", {"drain 5,000": 2_500.0})

    assert "| drain 5,000, a second | 10,000 | 2,500 (0.25) |" in tables(results)
    assert "| PostgreSQL: launch one, to pgqueuer | at least 1.20 times | - | not measured |" in goals(
        results
    )


def test_every_goal_reads_measures_that_exist() -> None:
    """A goal that looks for a measure by another name is never met and never missed."""
    everything = Results()
    for entry in ENTRIES:
        everything.add(entry.engine, entry.name, {measure.name: 1.0 for measure in MEASURES})

    assert [goal.text for goal in GOALS if goal.of(everything) is None] == []


@pytest.mark.parametrize("name", sorted({entry.requirements for entry in ENTRIES}))
def test_every_environment_is_pinned(name: str) -> None:
    """A peer that changes between two runs makes them incomparable."""
    lines = (REQUIREMENTS / f"{name}.txt").read_text().splitlines()

    loose = [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+|-e packages/[\w-]+", line)]

    assert lines
    assert loose == []


def test_the_page_has_a_place_for_each_part_of_a_run() -> None:
    """The next run writes into the page; a part without a place would stay that of an older run."""
    text = PAGE.read_text()

    assert [found[2] for found in PART.finditer(text)] == ["goals", "figures", "contestants", "machine"]
    shown = re.findall(r"\]\((performance-[\w-]+)\.svg\)", text)
    assert [name for name in shown if not (PAGE.parent / f"{name}.svg").exists()] == []
    assert set(shown) <= set(PICTURES)
