"""The goals: what Kapusta must reach, as ratios to peers, floors and itself in the same run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from benchmarks.entries import KAPUSTA
from benchmarks.results import Results

TIMES: Final = "times"
"""The unit of a ratio."""

Ratio = Callable[[Results], float | None]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A limit on a ratio or a value.

    Attributes:
        engine: where it is measured.
        text: what is compared, for a reader.
        sense: whether the value must be at least or at most the limit.
        limit: the limit.
        of: reads the value from results; ``None`` if something was not measured.
        unit: of the value; a ratio is a multiple.
    """

    engine: str
    text: str
    sense: Literal["at least", "at most"]
    limit: float
    of: Ratio
    unit: str = TIMES

    def met(self, results: Results) -> bool | None:
        """Return whether it is met; ``None`` if it was not measured."""
        value = self.of(results)
        if value is None:
            return None
        return value >= self.limit if self.sense == "at least" else value <= self.limit

    def as_json(self, results: Results) -> dict[str, Any]:
        """Return the goal and what became of it."""
        return {
            "engine": self.engine,
            "goal": self.text,
            "sense": self.sense,
            "limit": self.limit,
            "unit": self.unit,
            "value": self.of(results),
            "met": self.met(results),
        }


def _to(engine: str, measure: str, other: str) -> Ratio:
    """Kapusta's median, as a multiple of another contestant's."""
    return lambda results: _over(
        results.median(engine, measure, KAPUSTA), results.median(engine, measure, other)
    )


def _to_best(engine: str, measure: str) -> Ratio:
    """Kapusta's median, as a multiple of the best peer's."""
    return lambda results: _over(results.median(engine, measure, KAPUSTA), results.best_peer(engine, measure))


def _within(engine: str, measure: str, base: str) -> Ratio:
    """One of Kapusta's medians, as a multiple of another one."""
    return lambda results: _over(results.median(engine, measure), results.median(engine, base))


def _alone(engine: str, measure: str) -> Ratio:
    return lambda results: results.median(engine, measure)


def _over(value: float | None, base: float | None) -> float | None:
    return None if value is None or not base else value / base


def _least(engine: str, text: str, limit: float, of: Ratio, unit: str = TIMES) -> Goal:
    return Goal(engine=engine, text=text, sense="at least", limit=limit, of=of, unit=unit)


def _most(engine: str, text: str, limit: float, of: Ratio, unit: str = TIMES) -> Goal:
    return Goal(engine=engine, text=text, sense="at most", limit=limit, of=of, unit=unit)


_DATABASES: Final = ("postgresql", "sqlite", "mariadb")

GOALS: Final = (
    _least("postgresql", "launch one, to pgqueuer", 1.2, _to("postgresql", "launch one", "pgqueuer")),
    _least("postgresql", "launch many, to pgqueuer", 1.5, _to("postgresql", "launch many", "pgqueuer")),
    _least("postgresql", "drain of 20,000, to pgqueuer", 1.3, _to("postgresql", "drain 20,000", "pgqueuer")),
    _least(
        "postgresql", "drain of 20,000, to bare asyncpg", 0.6, _to("postgresql", "drain 20,000", "asyncpg")
    ),
    _most("postgresql", "pick-up p50, to the best peer", 0.35, _to_best("postgresql", "pick-up p50")),
    _most("postgresql", "pick-up p99, to the best peer", 0.35, _to_best("postgresql", "pick-up p99")),
    _most(
        "postgresql",
        "pick-up between processes p50, to the best peer",
        1.0,
        _to_best("postgresql", "pick-up between p50"),
    ),
    _most(
        "postgresql",
        "pick-up between processes p99, to the best peer",
        1.0,
        _to_best("postgresql", "pick-up between p99"),
    ),
    _most("postgresql", "idle transactions", 10, _alone("postgresql", "idle transactions"), "a minute"),
    *(
        _least(engine, "100 names waiting, to one name", 0.8, _within(engine, "names: 100", "names: 1"))
        for engine in _DATABASES
    ),
    *(
        _least(engine, "1,000 names waiting, to one name", 0.5, _within(engine, "names: 1,000", "names: 1"))
        for engine in _DATABASES
    ),
    *(
        # Of times, while rates were measured: the base and the value change places.
        _most(
            engine,
            "time on a loaded table, to an empty one",
            1.3,
            _within(engine, "table: empty", "table: loaded"),
        )
        for engine in _DATABASES
    ),
    _least("memory", "drain of 20,000, to pgqueuer", 1.5, _to("memory", "drain 20,000", "pgqueuer")),
    _least("memory", "launch many, to pgqueuer", 0.5, _to("memory", "launch many", "pgqueuer")),
    # With its default settings Huey is as durable as Kapusta. Without fsync it drains faster than bare sqlite3 with it
    # may, so that only its launches are compared.
    _least("sqlite", "drain of 5,000, to huey", 3.0, _to("sqlite", "drain 5,000", "huey")),
    _least("sqlite", "launch many, to huey", 3.0, _to("sqlite", "launch many", "huey")),
    _least(
        "sqlite", "launch many, to huey without fsync", 3.0, _to("sqlite", "launch many", "huey, no fsync")
    ),
    _least("mariadb", "drain of 20,000, to bare aiomysql", 0.45, _to("mariadb", "drain 20,000", "aiomysql")),
    _most("mariadb", "pick-up p50", 3.0, _alone("mariadb", "pick-up p50"), "ms"),
    _least(
        "postgresql",
        "two worker processes, to one",
        1.6,
        _within("postgresql", "workers: 2", "workers: 1"),
    ),
    _most("memory", "`import kapusta`", 40.0, _alone("memory", "import"), "ms"),
)
