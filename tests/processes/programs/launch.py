"""A process that launches one task when it is told to, and runs none.

python launch.py URL NAME: reads keyword arguments as JSON from standard input, a line each.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import bodies

from kapusta import Kapusta


async def main(url: str, name: str) -> None:
    """Launch, and print the time of day at which the launch began."""
    kapusta = Kapusta(url)
    task = kapusta.register_task(getattr(bodies, name), name=name)
    await kapusta.crud.startup()
    print("ready", flush=True)
    for line in iter(sys.stdin.readline, ""):
        began = time.time()
        await task.launch(**json.loads(line))
        print(began, flush=True)
    await kapusta.shutdown()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
