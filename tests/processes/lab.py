"""A Kapusta with two child processes: accidents happen in one of them, and a neighbour works on in the other."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kapusta import Kapusta, Task, TaskStatus
from kapusta.backend import StoredTask
from kapusta_memory import MemoryCRUD
from tests.processes.programs import bodies, mishaps
from tests.servers.owned import GUARDS
from tests.worker.eventually import eventually
from tests.worker.leftovers import children_of, is_alive
from tests.worker.stored import stored

FINAL = frozenset(TaskStatus) - {TaskStatus.pending, TaskStatus.started}
SLOTS = 2


@dataclass(frozen=True, kw_only=True)
class Accident:
    """What was seen of an accident.

    Attributes:
        task: the task, as it ended.
        gone: for how many seconds its slot was gone: from the accident until bodies ran in all slots at once.
        neighbour: the longest time that a short body in the other child took meanwhile, from launch to outcome.
        children: the processes of the bodies that then ran in all slots at once.
    """

    task: StoredTask
    gone: float
    neighbour: float
    children: frozenset[int]


class Lab:
    """Runs bodies in child processes and looks at what becomes of them; see `lab`.

    Attributes:
        folder: where bodies leave notes.
    """

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.kapusta = Kapusta(MemoryCRUD(), **{"max_processes": SLOTS, "grace": 0, **options})
        self._stamp, self._hold = self.task(mishaps.stamp), self.task(mishaps.hold)

    def task(self, body: Callable[..., Any], **options: Any) -> Task[..., Any]:
        """A task of mode `process`, which is held after its first crash unless *options* say otherwise."""
        options = {"max_crashes": 1, "timeout": None, **options}
        return self.kapusta.register_task(body, "process", **options)  # type: ignore[no-any-return]  # any body, any options

    def notes(self, word: str) -> list[list[str]]:
        """What bodies have noted under *word*: the process's id, the word, and the rest."""
        return [words for words in bodies.notes(str(self.folder)) if words[1] == word]

    async def began(self, count: int = 1) -> int:
        """Return, when so many bodies have begun, the process of the last one."""
        await eventually(lambda: len(self.notes("began")) >= count, "the body has begun")
        return int(self.notes("began")[-1][0])

    async def end_of(self, task_id: int) -> StoredTask:
        """A task when it has ended, or is held."""

        async def ended() -> StoredTask | None:
            task = await stored(self.kapusta, task_id)
            return task if task.status in FINAL else None

        task: StoredTask | None = await eventually(ended, "it has ended", within=40)
        assert task is not None
        return task

    async def next_body(self) -> tuple[int, float]:
        """The process in which the next body runs, and the time of day at which it begins."""
        before = len(self.notes("stamped"))
        pid = await (await self._stamp.launch(folder=str(self.folder))).result(timeout=30)
        return pid, float(self.notes("stamped")[before][2])

    async def fill(self, count: int = SLOTS) -> tuple[frozenset[int], float]:
        """Run so many bodies at once; their processes, and the time of day at which the last of them begins.

        None of them ends before all have begun: as many slots as that must work.
        """
        begun = len(self.notes("holds"))
        key = self.folder / f"released-{begun}"
        handles = await self._hold.launch_many([{"folder": str(self.folder), "key": str(key)}] * count)
        await eventually(lambda: len(self.notes("holds")) == begun + count, f"{count} bodies run at once")
        key.touch()
        children = frozenset([await handle.result(timeout=30) for handle in handles])
        return children, max(float(words[2]) for words in self.notes("holds")[begun:])

    async def accident(
        self,
        task: Task[..., Any],
        *,
        meanwhile: Callable[[], Awaitable[float]] | None = None,
        **arguments: Any,
    ) -> Accident:
        """Let *task* meet with its accident beside a neighbour, and then run bodies in all slots at once.

        *meanwhile* is done when it has been launched, and answers when the accident happens; without it, the body
        has noted that. The neighbour leaves its slot when the outcome is stored.
        """
        await self.next_body()  # there is a child
        over = asyncio.Event()
        async with asyncio.TaskGroup() as group:
            neighbour = group.create_task(self._neighbour(over))
            try:
                handle = await task.launch(folder=str(self.folder), **arguments)
                happened = await meanwhile() if meanwhile else None
                ended = await self.end_of(handle)
            finally:
                over.set()
        children, back_at = await self.fill()
        if happened is None:
            happened = float(self.notes("ends")[-1][2])
        return Accident(task=ended, gone=back_at - happened, neighbour=neighbour.result(), children=children)

    async def _neighbour(self, over: asyncio.Event) -> float:
        longest, give_back = 0.0, self.task(mishaps.give_back, name="neighbour")
        while not over.is_set():
            began = time.monotonic()
            await (await give_back.launch(value=1)).result(timeout=30)
            longest = max(longest, time.monotonic() - began)
        return longest


def living_children() -> set[int]:
    """The children that this process has now, the idle ones too, but for zombies, and for who guards the tests' servers."""
    return {pid for pid in children_of(os.getpid()) - GUARDS if is_alive(pid)}


@asynccontextmanager
async def lab(folder: Path, **options: Any) -> AsyncIterator[Lab]:
    """A lab that works; it shuts down without waiting for bodies."""
    made = Lab(folder, **options)
    async with made.kapusta:
        yield made
