"""The long runs: `python -m tests.chaos [--minutes 30 | --outage] [--seed N] [--engine sqlite|postgresql|mariadb]`."""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
from pathlib import Path

from tests.chaos.engines import ENGINES
from tests.chaos.figures import Figures, table
from tests.chaos.outage import Outage, outage
from tests.chaos.run import Plan, run


def main(words: list[str]) -> int:
    """Run on each engine, and print the figures; 1 if anything was violated."""
    parser = argparse.ArgumentParser(prog="chaos", description="Attack Kapusta, and check what it promises.")
    parser.add_argument("--minutes", type=float, default=5.0, help="on each engine")
    parser.add_argument(
        "--least", type=int, default=20, help="so often each kind of fault, though it takes more minutes"
    )
    parser.add_argument("--seed", type=int, default=None, help="repeats the order of faults of another run")
    parser.add_argument(
        "--engine", choices=sorted(ENGINES), action="append", help="only this one; may be repeated"
    )
    parser.add_argument("--outage", action="store_true", help="instead: a minute without the store, once")
    parser.add_argument("--keep", action="store_true", help="keep the history though nothing is wrong")
    options = parser.parse_args(words)
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)

    columns: dict[str, list[tuple[str, str]]] = {}
    wrong = 0
    for name in options.engine or list(ENGINES):
        folder = Path(tempfile.mkdtemp(prefix=f"kapusta-chaos-{name}-"))
        plan = Plan(
            engine=name, seed=seed, seconds=60 * options.minutes, least=options.least, workers=4, lanes=3
        )
        found: Figures | Outage
        if options.outage:
            found = asyncio.run(outage(name, seed, folder))
        else:
            found = asyncio.run(run(plan, folder)).figures
        columns[name] = found.lines()
        wrong += len(found.violations)
        for violation in found.violations:
            print(violation)
        if found.violations or options.keep:
            print(f"{name}: seed {seed}, history in {folder}", flush=True)
        else:
            shutil.rmtree(folder)
    print(table(columns))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
