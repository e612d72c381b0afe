"""A script that starts its work without asking whether it is `__main__`: the accident of a body of its own.

python unguarded.py FOLDER: prints, as JSON, how the task ended and what was seen of its slot.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path

sys.path.append(str(Path(__file__).parents[3]))

from tests.processes.lab import lab


def far_away(folder: str) -> None:
    """Never begins: its child would run the whole script to find it."""


async def now() -> float:
    """The accident is the import, which begins at once."""
    return time.time()


async def main(folder: Path) -> None:
    """Let it happen."""
    async with lab(folder) as here:
        accident = await here.accident(here.task(far_away), meanwhile=now)
    task = accident.task
    seen = {"status": task.status.value, "error": task.error}
    print(json.dumps({**seen, "gone": accident.gone, "neighbour": accident.neighbour}))


asyncio.run(main(Path(sys.argv[1])))
