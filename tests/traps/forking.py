"""A program that starts its store, and makes a copy of itself: `python -m tests.traps.forking URL`."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable

from kapusta import Kapusta, StoreNotStartedError


async def in_the_copy(kapusta: Kapusta, launch: Callable[[], Awaitable[int]]) -> None:
    """Launch on the store of the process that this one is a copy of, and then on one of its own."""
    try:
        await launch()
    except StoreNotStartedError:
        print("copy: not started here", flush=True)
    await kapusta.crud.startup()
    print("copy: launched", await kapusta.get_task_status(await launch()), flush=True)
    await kapusta.crud.shutdown()


async def main(url: str) -> None:
    """Use the store before the copy is made, while it works, and after it has ended."""
    kapusta = Kapusta(url, store_timeout=5)
    task = kapusta.register_task(lambda: "ran", name="task")
    await kapusta.crud.startup()
    first = await task.launch()
    pid = os.fork()
    if pid == 0:
        try:
            asyncio.run(in_the_copy(kapusta, task.launch))
        except BaseException as error:  # noqa: BLE001 - a copy must not go on as the program
            print("copy:", type(error).__name__, error, flush=True)
        finally:
            os._exit(0)
    loop = asyncio.get_running_loop()
    ended = loop.run_in_executor(None, os.waitpid, pid, 0)
    looks = 0
    while not ended.done() or looks < 20:
        assert await kapusta.get_task_status(first) == "pending"
        looks += 1
    await kapusta.run_until_idle()
    print("program:", await first.result(timeout=5), flush=True)
    await kapusta.crud.shutdown()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
