"""How many may start, by mode."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from ._enums import TaskExecutionMode


class Slots:
    """Counts what runs against the limits; written by the worker's loop.

    A slot is taken when a task is claimed and given back when its body is over: a thread that outlives its
    timeout keeps its slot until it ends.
    """

    def __init__(self, *, total: int, threads: int, processes: int | None = None) -> None:
        self.total = total
        self.limits = {
            TaskExecutionMode.sync: 1,  # it blocks the loop: a second could not run anyway
            TaskExecutionMode.process: processes or os.cpu_count() or 1,
            TaskExecutionMode.thread: threads,
            TaskExecutionMode.async_: total,
        }
        self._taken = dict.fromkeys(TaskExecutionMode, 0)
        self._last_taken = dict.fromkeys(TaskExecutionMode, 0)
        self._takes = 0
        self.taken = 0
        """How many slots are taken in all."""

    def take(self, mode: TaskExecutionMode) -> None:
        self._taken[mode] += 1
        self.taken += 1
        self._takes += 1
        self._last_taken[mode] = self._takes

    def give_back(self, mode: TaskExecutionMode) -> None:
        self._taken[mode] -= 1
        self.taken -= 1

    def free(self, modes: Iterable[TaskExecutionMode]) -> dict[TaskExecutionMode, int]:
        """How many may be claimed of each of *modes*; in all never more than are free in all."""
        patient = sorted(modes, key=self._last_taken.__getitem__)
        room = {mode: self.limits[mode] - self._taken[mode] for mode in patient}
        return share_out(self.total - self.taken, room)


def share_out(total: int, room: Mapping[TaskExecutionMode, int]) -> dict[TaskExecutionMode, int]:
    """Share *total* among modes with so much *room* each, as evenly as it goes.

    Where there is less than one for each, those that come first in *room* get one.
    """
    hungry = [(wants, mode) for mode, wants in room.items() if wants > 0]
    if total < len(hungry):
        return {mode: 1 for _, mode in hungry[: max(0, total)]}
    shares: dict[TaskExecutionMode, int] = {}
    for served, (wants, mode) in enumerate(sorted(hungry)):
        shares[mode] = min(wants, -(-total // (len(hungry) - served)))
        total -= shares[mode]
    return shares
