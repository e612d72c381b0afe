"""The results as tables in Markdown."""

from __future__ import annotations

from typing import Final

from benchmarks.entries import ENGINES, KAPUSTA
from benchmarks.goals import GOALS, TIMES, Goal
from benchmarks.results import MEASURES, Measure, Results, entries_of

TITLES: Final = {"postgresql": "PostgreSQL", "sqlite": "SQLite", "mariadb": "MariaDB", "memory": "Memory"}


def tables(results: Results, *, heading: str = "##") -> str:
    """Return one table for each engine that was measured."""
    found = [(engine, _rows(results, engine)) for engine in ENGINES]
    return "\n\n".join(f"{heading} {TITLES[engine]}\n\n{rows}" for engine, rows in found if rows)


def goals(results: Results) -> str:
    """Return the table of goals."""
    lines = ["| | goal | value | met |", "| --- | --- | --- | --- |"]
    for goal in GOALS:
        value, met = goal.of(results), goal.met(results)
        said = {True: "yes", False: "no", None: "not measured"}[met]
        shown = "-" if value is None else _quantity(goal, value)
        limit = f"{goal.sense} {_quantity(goal, goal.limit)}"
        lines.append(f"| {TITLES[goal.engine]}: {goal.text} | {limit} | {shown} | {said} |")
    return "\n".join(lines)


def _rows(results: Results, engine: str) -> str:
    contestants = [
        entry.name
        for entry in entries_of(engine)
        if any((engine, measure.name, entry.name) in results.values for measure in MEASURES)
    ]
    lines = []
    for measure in MEASURES:
        cells = [_cell(results, engine, measure, contestant) for contestant in contestants]
        if any(cell != "-" for cell in cells):
            lines.append(f"| {measure.name}, {measure.unit} | " + " | ".join(cells) + " |")
    if not lines:
        return ""
    head = "| | " + " | ".join(contestants) + " |\n|" + " --- |" * (len(contestants) + 1)
    return "\n".join([head, *lines])


def _cell(results: Results, engine: str, measure: Measure, contestant: str) -> str:
    """Return the median, and for others than Kapusta its multiple of Kapusta's."""
    value = results.median(engine, measure.name, contestant)
    if value is None:
        return "-"
    ours = results.median(engine, measure.name)
    if contestant == KAPUSTA or not ours:
        return _number(value)
    return f"{_number(value)} ({value / ours:.2f})"


def _quantity(goal: Goal, value: float) -> str:
    return f"{value:.2f} {TIMES}" if goal.unit == TIMES else f"{_number(value)} {goal.unit}"


def _number(value: float) -> str:
    if value < 10:
        return f"{value:.2f}"
    if value < 100:
        return f"{value:.1f}"
    return f"{value:,.0f}"
