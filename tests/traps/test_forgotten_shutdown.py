"""A program that ends without a shutdown."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ENDS = """
import asyncio

from kapusta import Kapusta
from kapusta_memory import MemoryCRUD

asked = asyncio.Event()


class Stuck(MemoryCRUD):
    async def change_tasks(self, changes):
        asked.set()
        await asyncio.get_running_loop().create_future()


async def work():
    pass


async def main():
    kapusta = Kapusta(Stuck())
    await kapusta.startup()
    await kapusta.register_task(work, name="work").launch_many([{}] * 3)
    await asked.wait()


asyncio.run(main())
"""


def test_it_is_told_what_becomes_of_its_tasks_and_sees_no_traceback() -> None:
    """Futures that are never awaited print a traceback each, which says nothing of what to do."""
    ran = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, text=True, timeout=60, check=True)

    assert "never retrieved" not in ran.stderr
    assert "Traceback" not in ran.stderr
    assert ran.stderr.count("is rescued when its lease ends") == 3


CLOSES_ITS_LOOP = """
import asyncio
import sys
import threading
import time

from kapusta import Kapusta
from kapusta_memory import MemoryCRUD


class Stuck(MemoryCRUD):
    async def find_tasks(self, query):
        await asyncio.get_running_loop().create_future()


def keepers():
    return [thread for thread in threading.enumerate() if thread.name == "kapusta-keeper"]


def wait_until(look):
    end = time.monotonic() + 20
    while not look() and time.monotonic() < end:
        time.sleep(0.01)
    return look()


async def begin():
    await stuck.startup()
    await kept.startup()
    asking = asyncio.create_task(stuck.handle(1).status())
    await asyncio.to_thread(wait_until, keepers)
    return asking


async def stop():
    await asyncio.wait_for(stuck.shutdown(), 10)
    await asyncio.wait_for(kept.shutdown(), 10)


stuck, kept = Kapusta(Stuck()), Kapusta(sys.argv[1])
loop = asyncio.new_event_loop()
asking = loop.run_until_complete(begin())
loop.close()
print("began with", len(keepers()))
asyncio.run(stop())
print("left" if wait_until(lambda: not keepers()) else "kept")
"""


def test_what_a_closed_loop_left_behind_is_neither_waited_for_nor_kept(tmp_path: Path) -> None:
    """A call of a closed loop never ends, and a keeper's thread would renew the leases of bodies that are gone."""
    ran = subprocess.run(
        [sys.executable, "-c", CLOSES_ITS_LOOP, f"sqlite+aiosqlite:///{tmp_path / 'tasks.db'}"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.stdout.splitlines() == ["began with 1", "left"], ran.stderr


WAITED_ON_ITS_LOOP = """
import asyncio
import logging
import sys

from kapusta import Kapusta
from kapusta_memory import MemoryCRUD

logging.basicConfig(stream=sys.stdout, format="%(name)s: %(message)s", level=logging.WARNING)
logging.getLogger("asyncio").disabled = True  # it names the tasks that were not cancelled
kapusta = Kapusta(MemoryCRUD())


def work():
    return "ran"


async def begin():
    await kapusta.startup()
    kapusta.stop_listening_task()
    handle = await task.launch()
    waiting = asyncio.create_task(handle.result())
    for _ in range(100):  # in memory nothing takes longer: it has looked, and waits
        await asyncio.sleep(0)
    return handle, waiting


async def go_on():
    await kapusta.crud.startup()
    second = await task.launch()
    print(await second.status())
    await asyncio.wait_for(kapusta.run_until_idle(), 20)
    print(await first.status(), await second.status())


task = kapusta.register_task(work, name="work")
loop = asyncio.new_event_loop()
first, waiting = loop.run_until_complete(begin())
loop.close()
kapusta.register_task(work, name="another")
asyncio.run(go_on())
"""


def test_what_waited_on_a_closed_loop_is_not_woken() -> None:
    """A loop that was closed with its tasks must not break registrations, launches and outcomes of the next."""
    command = [sys.executable, "-c", WAITED_ON_ITS_LOOP]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert ran.stdout.splitlines() == ["pending", "success success"], ran.stderr
