"""The command: `python -m benchmarks [--engine E] [--workload W] [--rounds N] [--quick] [--write-page]`."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from benchmarks import environments
from benchmarks.entries import ENGINES, ENTRIES, Entry
from benchmarks.goals import GOALS
from benchmarks.report import goals, tables
from benchmarks.results import Results
from benchmarks.run import Plan, run
from benchmarks.workloads import FULL, QUICK, WORKLOADS

KEYS = [*(workload.key for workload in WORKLOADS), "loaded", "idle", "import"]


def main(words: list[str]) -> int:
    """Measure, and print the tables; 1 if a contestant failed."""
    options = _options(words)
    if options.from_json:
        results = Results.from_json(json.loads(options.from_json.read_text()))
    else:
        results = Results()
        run(_plan(options, results), results)
    if options.json:
        found = {**results.as_json(), "goals": [goal.as_json(results) for goal in GOALS]}
        options.json.write_text(json.dumps(found, indent=1) + "\n")
    print(tables(results))
    print("\n## Goals\n")
    print(goals(results))
    if options.write_page:
        from benchmarks.page import write

        write(results)
    for failure in results.failures:
        print(failure, file=sys.stderr)
    return 1 if results.failures else 0


def _options(words: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bench", description="Measure Kapusta and its peers side by side.")
    names = sorted({entry.name for entry in ENTRIES})
    parser.add_argument("--engine", choices=ENGINES, action="append", help="only this one; may be repeated")
    parser.add_argument("--workload", choices=KEYS, action="append", help="only this one; may be repeated")
    parser.add_argument("--contestant", choices=names, action="append", help="only this one; may be repeated")
    parser.add_argument("--rounds", type=int, default=None, help="of which the median is taken; 3 by default")
    parser.add_argument(
        "--quick", action="store_true", help="tiny sizes, one round: to see that all of it works"
    )
    parser.add_argument("--json", type=Path, help="write all values to this file")
    parser.add_argument("--from-json", type=Path, help="measure nothing, and report what this file holds")
    parser.add_argument("--write-page", action="store_true", help="renew the page and its plots in docs/")
    parser.add_argument("--python", type=Path, help="the interpreter of which environments are made")
    parser.add_argument(
        "--here", action="store_true", help="run contestants in the environment of this command, without pins"
    )
    options = parser.parse_args(words)
    if options.write_page and (options.engine or options.workload or options.contestant or options.quick):
        parser.error("--write-page renews the whole page: it needs a whole run, or --from-json of one")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)  # not found out after twenty minutes
    return options


def _plan(options: argparse.Namespace, results: Results) -> Plan:
    python = Path(sys.executable) if options.here else options.python or environments.find_python()
    version = environments.version_of(python)
    entries: list[Entry] = []
    for entry in ENTRIES:
        if entry.engine not in (options.engine or ENGINES):
            continue
        if options.contestant and entry.name not in options.contestant:
            continue
        if version < entry.oldest:
            wanted = ".".join(map(str, entry.oldest))
            results.failures.append(f"{entry.name} was left out: it needs Python {wanted} or newer.")
            continue
        entries.append(entry)
    requirements = dict.fromkeys(entry.requirements for entry in entries)
    pythons = {
        name: Path(sys.executable) if options.here else environments.make(name, python)
        for name in requirements
    }
    return Plan(
        entries=entries,
        workloads=options.workload or KEYS,
        rounds=options.rounds or (1 if options.quick else 3),
        sizes=QUICK if options.quick else FULL,
        pythons=pythons,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
