"""One run: contestants take turns in every workload of every round, so that a slow minute is slow for all."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import environments
from benchmarks.engines import START, Engine
from benchmarks.entries import SLOTS, Entry
from benchmarks.player import ROOT, ContestantError, Player
from benchmarks.results import Results
from benchmarks.workloads import WORKLOADS, Arena, Sizes, Workload, drain_on

SETTLING = 5.0
"""Seconds after its start in which a worker is not counted as idle yet."""

IMPORT = """
import asyncio, importlib, logging, sys, time
start = time.perf_counter()
importlib.import_module(sys.argv[1])
print(1_000 * (time.perf_counter() - start))
"""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a run measures.

    Attributes:
        entries: the contestants.
        workloads: the keys of `WORKLOADS`, and ``loaded``, ``idle`` and ``import``.
        rounds: how often each is measured.
        sizes: how large they are.
        pythons: the interpreter of each contestant's environment, by its file of requirements.
    """

    entries: Sequence[Entry]
    workloads: Sequence[str]
    rounds: int
    sizes: Sizes
    pythons: dict[str, Path]

    def of(self, engine: str, needs: str) -> list[Entry]:
        """Return the contestants on an engine that can do this."""
        return [entry for entry in self.entries if entry.engine == engine and needs in entry.can]


def run(plan: Plan, results: Results) -> None:
    """Measure everything, one engine after the other."""
    results.about.update(machine=_machine(), rounds=plan.rounds, slots=SLOTS, sizes=asdict(plan.sizes))
    results.about["started"] = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
    results.about["python"] = ".".join(map(str, environments.version_of(next(iter(plan.pythons.values())))))
    results.about["versions"] = {
        name: environments.versions_in(python) for name, python in plan.pythons.items()
    }
    results.about["commit"] = _commit()
    engines = list(dict.fromkeys(entry.engine for entry in plan.entries))
    for name in engines:
        with _started(name, results) as engine:
            for number in range(plan.rounds):
                for workload in WORKLOADS:
                    if workload.key in plan.workloads:
                        _take_turns(plan, name, engine, workload, number, results)
            if "loaded" in plan.workloads:
                for entry in plan.of(name, "loaded"):
                    _loaded(plan, entry, engine, results)
    if "idle" in plan.workloads:
        _idle(plan, engines, results)
    if "import" in plan.workloads:
        _imports(plan, results)


def _take_turns(
    plan: Plan, name: str, engine: Engine, workload: Workload, number: int, results: Results
) -> None:
    """Let each contestant do a workload once; another one begins in each round."""
    entries = plan.of(name, workload.needs)
    start = number % len(entries) if entries else 0
    for entry in entries[start:] + entries[:start]:
        known = {
            measure: values
            for (where, measure, who), values in results.values.items()
            if (where, who) == (name, entry.name)
        }
        arena = Arena(entry, engine, plan.pythons[entry.requirements], plan.sizes, known)
        begun = time.monotonic()
        try:
            measured = workload.run(arena)
        except ContestantError as problem:
            _report(results, f"{workload.key}, round {number + 1}: {problem}")
            continue
        results.add(name, entry.name, measured)
        figures = ", ".join(f"{measure} {value:,.1f}" for measure, value in measured.items())
        _say(f"round {number + 1}  {name:10}  {entry.name:18}  {figures}  ({time.monotonic() - begun:.1f} s)")


def _loaded(plan: Plan, entry: Entry, engine: Engine, results: Results) -> None:
    """Drain on a table full of rows that are not due, and on an empty one, in turns."""
    sizes = plan.sizes
    arena = Arena(entry, engine, plan.pythons[entry.requirements], sizes, {})
    with arena.database() as loaded:
        begun = time.monotonic()
        with arena.player() as player:
            player.open(loaded)
            player.ask("burden", finished=sizes.finished, future=sizes.future, unknown=sizes.unknown)
            player.ask("close")
        engine.calm(loaded)
        _say(f"loaded   {entry.engine:10}  filled in {time.monotonic() - begun:.1f} s")
        for _ in range(plan.rounds):
            with arena.database() as empty:
                measured = {"table: empty": drain_on(arena, empty), "table: loaded": drain_on(arena, loaded)}
            results.add(entry.engine, entry.name, measured)
            figures = ", ".join(f"{measure} {value:,.1f}" for measure, value in measured.items())
            _say(f"loaded   {entry.engine:10}  {entry.name:18}  {figures}")


def _idle(plan: Plan, engines: list[str], results: Results) -> None:
    """Let a worker of each contestant be idle, all at the same time, and see what that costs."""
    length = plan.sizes.idle
    with ExitStack() as stack:
        workers: list[tuple[Entry, Engine, str, Player]] = []
        for name in engines:
            engine = stack.enter_context(_started(name, results))
            for entry in plan.of(name, "idle"):
                arena = Arena(entry, engine, plan.pythons[entry.requirements], plan.sizes, {})
                url = stack.enter_context(arena.database())
                player = stack.enter_context(arena.player())
                player.open(url)
                player.ask("work")
                workers.append((entry, engine, url, player))
        time.sleep(min(SETTLING, length))
        before = [(engine.transactions(url), player.ask("usage")) for _, engine, url, player in workers]
        time.sleep(length)
        for (entry, engine, url, player), (counted, used) in zip(workers, before, strict=True):
            now, usage = engine.transactions(url), player.ask("usage")
            measured = {
                "idle CPU": 1_000 * (usage["cpu"] - used["cpu"]) * 60 / length,
                "idle memory": usage["megabytes"],
            }
            if counted is not None and now is not None:
                measured["idle transactions"] = (now - counted) * 60 / length
            results.add(entry.engine, entry.name, measured)
            figures = ", ".join(f"{measure} {value:,.1f}" for measure, value in measured.items())
            _say(f"idle     {entry.engine:10}  {entry.name:18}  {figures}")
        for _, _, _, player in workers:
            player.ask("rest")
            player.ask("close")


def _imports(plan: Plan, results: Results) -> None:
    """Import each contestant in a fresh interpreter that has asyncio and logging."""
    for _ in range(plan.sizes.imports):
        for entry in plan.entries:
            if entry.imports and entry.role != "variant":
                python = plan.pythons[entry.requirements]
                words = [str(python), "-c", IMPORT, entry.imports]
                ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True)
                results.add(entry.engine, entry.name, {"import": float(ran.stdout)})


@contextmanager
def _started(name: str, results: Results) -> Iterator[Engine]:
    engine = START[name]()
    try:
        results.about.setdefault("engines", {})[name] = engine.about
        yield engine
    finally:
        engine.stop()


def _machine() -> dict[str, Any]:
    model = platform.processor() or platform.machine()
    cpus = Path("/proc/cpuinfo")
    if cpus.exists():
        names = [
            line.partition(":")[2].strip() for line in cpus.read_text().splitlines() if "model name" in line
        ]
        model = names[0] if names else model
    return {
        "processor": model,
        "cores": os.cpu_count(),
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.0f} GB",
        "system": f"{platform.system()} {platform.release()}",
        "load before": os.getloadavg()[0],
    }


def _commit() -> str | None:
    """Return the commit that is measured, where there is git; ``+`` says that files differ from it."""
    words = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        ran = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return ran.stdout.strip() or None


def _report(results: Results, problem: str) -> None:
    results.failures.append(problem)
    _say(problem)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
