"""What a run has found: all values of all rounds, and their medians."""

from __future__ import annotations

import statistics
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from benchmarks.entries import ENTRIES, KAPUSTA, Entry

RATE, MILLISECONDS, MINUTE = "a second", "ms", "a minute"


@dataclass(frozen=True, kw_only=True)
class Measure:
    """One figure of a workload.

    Attributes:
        name: its key in results and its label in tables.
        unit: of the value.
        better: whether more or less of it is better.
    """

    name: str
    unit: str
    better: Literal["more", "less"] = "more"


MEASURES: Final = (
    Measure(name="launch one", unit=RATE),
    Measure(name="launch many", unit=RATE),
    Measure(name="drain 5,000", unit=RATE),
    Measure(name="drain 20,000", unit=RATE),
    Measure(name="pick-up p50", unit=MILLISECONDS, better="less"),
    Measure(name="pick-up p99", unit=MILLISECONDS, better="less"),
    Measure(name="pick-up between p50", unit=MILLISECONDS, better="less"),
    Measure(name="pick-up between p99", unit=MILLISECONDS, better="less"),
    Measure(name="names: 1", unit=RATE),
    Measure(name="names: 100", unit=RATE),
    Measure(name="names: 1,000", unit=RATE),
    Measure(name="table: empty", unit=RATE),
    Measure(name="table: loaded", unit=RATE),
    Measure(name="workers: 1", unit=RATE),
    Measure(name="workers: 2", unit=RATE),
    Measure(name="thread", unit=RATE),
    Measure(name="process", unit=RATE),
    Measure(name="idle transactions", unit=MINUTE, better="less"),
    Measure(name="idle CPU", unit="ms a minute", better="less"),
    Measure(name="idle memory", unit="MB", better="less"),
    Measure(name="import", unit="ms", better="less"),
)

Key = tuple[str, str, str]
"""Engine, measure, contestant."""


@dataclass
class Results:
    """All values.

    Attributes:
        values: in the order of rounds.
        about: machine, engines, versions, sizes.
        failures: what a contestant could not do, in words.
    """

    values: dict[Key, list[float]] = field(default_factory=lambda: defaultdict(list))
    about: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def add(self, engine: str, contestant: str, measured: dict[str, float]) -> None:
        """Add the values of one round."""
        for measure, value in measured.items():
            self.values[engine, measure, contestant].append(value)

    def median(self, engine: str, measure: str, contestant: str = KAPUSTA) -> float | None:
        """Return the median over the rounds; ``None`` if it was not measured."""
        values = self.values.get((engine, measure, contestant))
        return statistics.median(values) if values else None

    def best_peer(self, engine: str, measure: str) -> float | None:
        """Return the best median of all peers, where less is better."""
        medians = [self.median(engine, measure, entry.name) for entry in entries_of(engine, "peer")]
        return min((value for value in medians if value is not None), default=None)

    def as_json(self) -> dict[str, Any]:
        """Return everything as what JSON can hold."""
        units = {measure.name: measure.unit for measure in MEASURES}
        rows = [
            {
                "engine": engine,
                "measure": measure,
                "contestant": contestant,
                "unit": units[measure],
                "median": statistics.median(values),
                "rounds": values,
            }
            for (engine, measure, contestant), values in self.values.items()
        ]
        return {"about": self.about, "results": rows, "failures": self.failures}

    @classmethod
    def from_json(cls, stored: dict[str, Any]) -> Results:
        """Return what `as_json` was made of."""
        found = cls(about=stored["about"], failures=stored["failures"])
        for row in stored["results"]:
            found.values[row["engine"], row["measure"], row["contestant"]] = row["rounds"]
        return found


def entries_of(engine: str, role: str | None = None) -> list[Entry]:
    """Return the contestants on an engine, of one role or of all."""
    return [entry for entry in ENTRIES if entry.engine == engine and role in (None, entry.role)]
