"""A worker of a run: `python -m tests.chaos.program URL LEASE CHILDREN`, the history's folder in the environment.

It says "ready" when it works, obeys the lines of its standard input, and shuts down when that ends:

- ``die PHASE POINT``: be killed there;
- ``full`` and ``roomy``: from now on no file of this process can grow beyond a few kilobytes; from now on it can.
"""

from __future__ import annotations

import asyncio
import logging
import logging.handlers
import os
import resource
import sys
from pathlib import Path

from kapusta import Kapusta
from kapusta_sqlalchemy import AlchemyCRUD
from tests.chaos.bodies import FOLDER, journal, register, snare
from tests.chaos.journal import LIMIT, SEGMENT
from tests.chaos.recording import RecordingCRUD


def obey() -> None:
    """Do what standard input says, until it ends."""
    roomy = resource.getrlimit(resource.RLIMIT_FSIZE)
    for line in iter(sys.stdin.readline, ""):
        match line.split():
            case ["die", phase, point]:
                snare().set(phase, point)
            case ["full"]:
                resource.setrlimit(resource.RLIMIT_FSIZE, (LIMIT, roomy[1]))
            case ["roomy"]:
                resource.setrlimit(resource.RLIMIT_FSIZE, roomy)


async def main(url: str, lease: float, *, children: bool) -> None:
    """Work."""
    kapusta = Kapusta(
        RecordingCRUD(AlchemyCRUD(url), journal(), snare()),
        lease=lease,
        grace=2,
        store_timeout=3,
        max_tick_interval=5,
        max_concurrent_tasks=8,
        max_threads=3,
        max_processes=1,
    )
    register(kapusta, children=children)
    async with kapusta:
        print("ready", flush=True)
        await asyncio.to_thread(obey)


def log_to(folder: Path) -> None:
    """In files as small as those of the history, for the same reason."""
    file = logging.handlers.RotatingFileHandler(
        folder / f"worker-{os.getpid()}.log", maxBytes=SEGMENT, backupCount=50
    )
    logging.basicConfig(level=logging.INFO, handlers=[file], format="%(asctime)s %(levelname)s %(message)s")


if __name__ == "__main__":
    log_to(Path(os.environ[FOLDER]))
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), children=sys.argv[3] == "yes"))
