"""The results as pictures; needs matplotlib."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import matplotlib as mpl
import matplotlib.ticker
from matplotlib.figure import Figure

from benchmarks.entries import ENGINES, KAPUSTA, Entry
from benchmarks.report import TITLES
from benchmarks.results import Results, entries_of

COLOURS: Final = {"kapusta": "#0072b2", "peer": "#8c96a3", "floor": "#d9dde2", "variant": "#b9c1cb"}
INK: Final = "#33383f"
STYLE: Final = {
    "svg.hashsalt": "kapusta",  # the same results are the same file
    "svg.fonttype": "none",
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.edgecolor": "#c5cad1",
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(results: Results, folder: Path) -> list[Path]:
    """Draw all pictures for which there are results, and return their files."""
    with mpl.rc_context(STYLE):
        figures = {
            "performance-postgresql": _bars(
                results, "postgresql", ("launch one", "launch many", "drain 20,000"), "tasks a second"
            ),
            "performance-pick-up": _latencies(results),
            "performance-engines": _engines(results),
            "performance-scaling": _scaling(results),
        }
        written = []
        for name, figure in figures.items():
            if figure is not None:
                path = folder / f"{name}.svg"
                figure.savefig(path, metadata={"Date": None}, facecolor="white")
                written.append(path)
    return written


def _bars(results: Results, engine: str, measures: Sequence[str], label: str) -> Figure | None:
    """Draw one panel for each measure, with a bar for each contestant."""
    panels = [(measure, _shown(results, engine, measure)) for measure in measures]
    panels = [(measure, shown) for measure, shown in panels if shown]
    if not panels:
        return None
    figure = Figure(figsize=(9.6, 0.6 + 0.3 * max(len(shown) for _, shown in panels)), layout="constrained")
    for axes, (measure, shown) in zip(_row(figure, len(panels)), panels, strict=True):
        _panel(axes, f"{TITLES[engine]}: {measure}", shown, label)
    return figure


def _engines(results: Results) -> Figure | None:
    """Draw what was launched and drained on the engines that have few contestants."""
    panels = [
        (f"{TITLES[engine]}: {measure}", shown)
        for engine in ENGINES
        if engine != "postgresql"
        for measure in ("launch one", "launch many", "drain 5,000")
        if (shown := _shown(results, engine, measure))
    ]
    if not panels:
        return None
    rows = -(-len(panels) // 3)
    figure = Figure(figsize=(9.6, 1.7 * rows), layout="constrained")
    grid = figure.subplots(rows, 3, squeeze=False).flat
    for axes, (title, shown) in zip(grid, panels, strict=False):
        _panel(axes, title, shown, "tasks a second")
    for axes in list(grid)[len(panels) :]:
        axes.set_visible(False)
    return figure


def _latencies(results: Results) -> Figure | None:
    """Draw the median and the 99th percentile of pick-up as a line from one to the other."""
    titles = {"pick-up": "in one process", "pick-up between": "between two processes"}
    panels = {}
    for what in titles:
        found = [
            (entry, results.median("postgresql", f"{what} p50", entry.name), entry.name)
            for entry in entries_of("postgresql")
        ]
        panels[what] = [(entry, value, name) for entry, value, name in found if value is not None]
    if not any(panels.values()):
        return None
    rows = max(len(shown) for shown in panels.values())
    figure = Figure(figsize=(9.6, 0.7 + 0.32 * rows), layout="constrained")
    for axes, (what, shown) in zip(_row(figure, 2), panels.items(), strict=True):
        for place, (entry, median, name) in enumerate(reversed(shown)):
            worst = results.median("postgresql", f"{what} p99", name) or median
            colour = COLOURS["kapusta" if entry.role == "kapusta" else "peer"]
            axes.plot([median, worst], [place, place], color=colour, linewidth=2, solid_capstyle="round")
            axes.plot([median], [place], "o", color=colour)
            axes.plot([worst], [place], "|", color=colour, markersize=9)
            axes.annotate(
                f"{median:.1f}", (median, place), (0, 6), textcoords="offset points", ha="center", size=7
            )
        axes.set_yticks(range(len(shown)), [name for _, _, name in reversed(shown)])
        axes.set_ylim(-0.6, len(shown) - 0.3)
        axes.set_xscale("log")
        axes.set_xlabel("ms from launch to start: dot p50, tick p99")
        axes.set_title(f"PostgreSQL: pick-up {titles[what]}", loc="left", size=9)
        axes.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
        axes.grid(axis="x", color="#eceff2")
        axes.set_axisbelow(True)
    return figure


def _scaling(results: Results) -> Figure | None:
    """Draw how Kapusta's own drain changes with the number of names, and with what else is in the table."""
    steps = {
        "names of waiting tasks": ("names: 1", "names: 100", "names: 1,000"),
        "rest of the table": ("table: empty", "table: loaded"),
        "worker processes": ("workers: 1", "workers: 2"),
    }
    figure = Figure(figsize=(9.6, 2.4), layout="constrained")
    drawn = False
    for axes, (title, measures) in zip(_row(figure, len(steps)), steps.items(), strict=True):
        for engine, marker in zip(ENGINES, "os^D", strict=True):
            values = [results.median(engine, measure) for measure in measures]
            first = values[0]
            if first is None or None in values:
                continue
            parts = [value / first for value in values if value is not None]
            axes.plot(range(len(parts)), parts, marker=marker, label=TITLES[engine])
            drawn = True
        axes.set_xticks(range(len(measures)), [measure.partition(": ")[2] for measure in measures])
        axes.set_xlim(-0.3, len(measures) - 0.7)
        axes.set_ylim(0, 1.1 * max([1.0, *(value for line in axes.lines for value in line.get_ydata())]))
        axes.set_title(f"Kapusta, drain by {title}", loc="left", size=9)
        axes.set_ylabel("multiple of the first")
        axes.grid(axis="y", color="#eceff2")
        if axes.lines:
            axes.legend(frameon=False, fontsize=7, loc="lower left")
    return figure if drawn else None


def _shown(results: Results, engine: str, measure: str) -> list[tuple[Entry, float]]:
    medians = [(entry, results.median(engine, measure, entry.name)) for entry in entries_of(engine)]
    return [(entry, value) for entry, value in medians if value is not None]


def _row(figure: Figure, number: int) -> list[Any]:
    return list(figure.subplots(1, number, squeeze=False)[0])


def _panel(axes: Any, title: str, shown: list[tuple[Entry, float]], label: str) -> None:
    rows = shown[::-1]  # the first one on top
    greatest = max(value for _, value in rows)
    bars = axes.barh(
        [entry.name for entry, _ in rows],
        [value for _, value in rows],
        color=[COLOURS[entry.role] for entry, _ in rows],
    )
    axes.bar_label(bars, [f"{value:,.0f}" for _, value in rows], padding=3, size=7)
    axes.set_xlim(0, 1.25 * greatest)
    axes.set_title(title, loc="left", size=9)
    axes.set_xlabel(label, size=8)
    axes.xaxis.set_major_locator(mpl.ticker.MaxNLocator(4))
    axes.xaxis.set_major_formatter(lambda value, _: f"{value / 1000:g}k" if value else "0")
    for tick in axes.get_yticklabels():
        tick.set_fontweight("bold" if tick.get_text() == KAPUSTA else "normal")
