"""A worker in a process of its own: runs tasks until its standard input ends.

python work.py URL LEASE NAME ...: the seconds of its lease, and which of the bodies it makes tasks of.
"""

from __future__ import annotations

import asyncio
import logging
import sys

import bodies

from kapusta import Kapusta


async def main(url: str, lease: float, *names: str) -> None:
    """Work, and say so on standard output."""
    kapusta = Kapusta(url, lease=lease, max_tick_interval=300)
    for name in names:
        kapusta.register_task(getattr(bodies, name), name=name)
    async with kapusta:
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, stream=sys.stderr)
    asyncio.run(main(sys.argv[1], float(sys.argv[2]), *sys.argv[3:]))
