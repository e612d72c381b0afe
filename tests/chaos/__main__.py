"""The long run: `python -m tests.chaos --minutes 30 --seed N [--engine sqlite|postgresql|mariadb]`."""

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
from tests.chaos.run import Plan, run


def main(words: list[str]) -> int:
    """Run on each engine, and print the figures; 1 if anything was violated."""
    parser = argparse.ArgumentParser(prog="chaos", description="Attack Kapusta, and check what it promises.")
    parser.add_argument("--minutes", type=float, default=5.0, help="on each engine")
    parser.add_argument("--seed", type=int, default=None, help="repeats the order of faults of another run")
    parser.add_argument(
        "--engine", choices=sorted(ENGINES), action="append", help="only this one; may be repeated"
    )
    parser.add_argument("--keep", action="store_true", help="keep the history though nothing is wrong")
    options = parser.parse_args(words)
    seed = random.SystemRandom().randrange(1 << 32) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)

    by_engine: dict[str, Figures] = {}
    for name in options.engine or list(ENGINES):
        folder = Path(tempfile.mkdtemp(prefix=f"kapusta-chaos-{name}-"))
        outcome = asyncio.run(run(Plan(engine=name, seed=seed, seconds=60 * options.minutes), folder))
        by_engine[name] = outcome.figures
        for violation in outcome.figures.violations:
            print(violation)
        if outcome.figures.violations or options.keep:
            print(f"{name}: seed {seed}, history in {folder}", flush=True)
        else:
            shutil.rmtree(folder)
    print(table(by_engine))
    return 1 if any(figures.violations for figures in by_engine.values()) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
