"""The page of the documentation: its figures and pictures are written by the run that they are from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

from benchmarks.entries import ENTRIES
from benchmarks.report import TITLES, goals, tables
from benchmarks.results import Results

PAGE: Final = Path(__file__).parent.parent / "docs" / "explanation" / "performance.md"
PART: Final = re.compile(r"(<!-- (\w+): written by the benchmark -->\n).*?(<!-- end of \2 -->)", re.DOTALL)
PICTURES: Final = {
    "performance-postgresql": "Tasks a second on PostgreSQL, for each contestant",
    "performance-pick-up": "Milliseconds from launch to start on PostgreSQL, for each contestant",
    "performance-engines": "Tasks a second on SQLite, MariaDB and in memory, for each contestant",
    "performance-scaling": "How Kapusta's drain changes with names, with a full table and with a second process",
}


def write(results: Results, page: Path = PAGE) -> None:
    """Replace the parts of the page that are between marks, and the pictures beside it."""
    from benchmarks.plots import draw  # needs matplotlib, which checking the page does not

    drawn = {path.stem for path in draw(results, page.parent)}
    pictures = "\n\n".join(f"![{PICTURES[name]}]({name}.svg)" for name in PICTURES if name in drawn)
    parts = {
        "goals": goals(results),
        "figures": f"{pictures}\n\n{tables(results, heading='###')}",
        "machine": _machine(results),
        "contestants": _contestants(results),
    }

    def renew(found: re.Match[str]) -> str:
        return f"{found[1]}\n{parts[found[2]]}\n\n{found[3]}"

    text = page.read_text()
    renewed, count = PART.subn(renew, text)
    if count != len(parts):
        raise ValueError(f"{page} has {count} parts for results, not {len(parts)}: {', '.join(parts)}")
    page.write_text(renewed)


def _machine(results: Results) -> str:
    about, machine = results.about, results.about["machine"]
    engines = "\n".join(f"- {TITLES[name]}: {text}" for name, text in about["engines"].items())
    return (
        f"{machine['processor']}, {machine['cores']} cores, {machine['memory']}, {machine['system']};"
        f" Python {about['python']}; commit `{about['commit']}`; {about['started']};"
        f" {about['rounds']} rounds, {about['slots']} slots.\n\n{engines}"
    )


def _contestants(results: Results) -> str:
    lines = ["| | version | |", "| --- | --- | --- |"]
    for entry in ENTRIES:
        if entry.remark and any(
            (engine, who) == (entry.engine, entry.name) for engine, _, who in results.values
        ):
            version = _version(results, entry.requirements, entry.imports or entry.name)
            lines.append(f"| {entry.name}, {TITLES[entry.engine]} | {version} | {entry.remark} |")
    return "\n".join(lines)


def _version(results: Results, requirements: str, module: str) -> str:
    found: dict[str, str] = results.about["versions"].get(requirements, {})
    name = "kapusta-core" if module == "kapusta" else module
    return found.get(name, f"of Python {results.about['python']}")
