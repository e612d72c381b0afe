"""An application with one task of mode `process`, in memory: launches it at once, and prints what it returns.

python host.py BODY ARGUMENTS: the body's name among the mishaps, and its keyword arguments as JSON.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from kapusta import Kapusta
from kapusta_memory import MemoryCRUD

sys.path.append(str(Path(__file__).parents[3]))
sys.path.append(Path(__file__).parent)  # type: ignore[arg-type]  # what is no text is there too, in some applications

from tests.processes.programs import bodies, mishaps


async def main(name: str, arguments: str) -> None:
    """Run one body, and wait for the end of standard input."""
    kapusta = Kapusta(MemoryCRUD())
    task = kapusta.register_task(
        getattr(mishaps, name, None) or getattr(bodies, name), "process", timeout=None
    )
    async with kapusta:
        print("ready", flush=True)
        handle = await task.launch(**json.loads(arguments))
        print(await handle.result(), flush=True)
        await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
