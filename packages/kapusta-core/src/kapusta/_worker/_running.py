"""What runs here now, and how to stop it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import datetime
from typing import Final

from .._enums import TaskExecutionMode
from .._executors._attempt import Body, Raised, StopCause
from .._futures import resolve
from .._options import Policy
from .._records import StoredTask
from ..types import TaskId
from ._keeper import Lease

_CAN_STOP: Final = (TaskExecutionMode.async_, TaskExecutionMode.process)


class Run:
    """One claim of one task by this worker, from claim to settlement; written by the worker's loop.

    Attributes:
        task: the task as it was claimed.
        policy: how to end it.
        body: how to stop it.
        lease: its lease, which the keeper moves on.
        claimed_at: on the monotonic scale, from before the claim was sent.
        store_now: the store's now at the claim.
        finished_within: whether its body has written, or tried to write, its outcome in a transaction of its own.
        past_lease: whether such a transaction is over, and the outcome stored, or the store being asked whether it is.
        raised: the exception that its body raised, until the record of it is written.
        result_problem: how the result that its body gave to ``finish_within()`` would arrive as something else.
        duration: how many seconds its body took; ``None``: it has not begun, or not ended.
        lost_meanwhile: whether its lease was said to be lost since then, as that of a stored outcome is.
        living: the asyncio task that runs its body.
    """

    __slots__ = (
        "_is_over",
        "_over",
        "body",
        "claimed_at",
        "duration",
        "finished_within",
        "lease",
        "living",
        "lost_meanwhile",
        "past_lease",
        "policy",
        "raised",
        "result_problem",
        "store_now",
        "task",
    )

    def __init__(self, task: StoredTask, claimed_at: float, store_now: datetime) -> None:
        self.task, self.claimed_at, self.store_now = task, claimed_at, store_now
        self.policy = Policy.read(task.options)
        self.body = Body()
        self.finished_within = self.past_lease = self.lost_meanwhile = False
        self.lease: Lease  # the runner sets it as it takes over
        self.raised: Raised | None = None
        self.result_problem: str | None = None
        self.duration: float | None = None
        self.living: asyncio.Task[None] | None = None
        self._is_over = False
        self._over: asyncio.Future[None] | None = None  # made by the few that wait

    async def over(self) -> None:
        """Return when the run is settled or abandoned."""
        if self._is_over:
            return
        if self._over is None:
            self._over = asyncio.get_running_loop().create_future()
        await asyncio.shield(self._over)

    def end(self) -> None:
        """Note that the run is settled or abandoned."""
        self._is_over = True
        if self._over is not None:
            resolve(self._over, None)

    @property
    def latest(self) -> float | None:
        """When, on the monotonic scale, its deadline comes; rather too early, as the claim was sent before the store's now."""
        if self.task.deadline is None:
            return None
        return self.claimed_at + (self.task.deadline - self.store_now).total_seconds()


class Running:
    """The runs of this worker that are not over; written by the worker's loop.

    A run that was abandoned, because its body could not be stopped, is remembered: its task is not ours to
    touch until its lease has ended.
    """

    def __init__(self) -> None:
        self._runs: dict[tuple[TaskId, int], Run] = {}
        self._latest: dict[TaskId, Run] = {}
        self._abandoned: set[tuple[TaskId, int]] = set()
        self.empty = asyncio.Event()
        self.empty.set()

    def __len__(self) -> int:
        return len(self._runs)

    def __iter__(self) -> Iterator[Run]:
        return iter(list(self._runs.values()))

    def add(self, run: Run) -> Run | None:
        """Take over a run; answer the one before it of the same task, if that is not over."""
        earlier = self._latest.get(run.task.id)
        self._runs[run.task.id, run.task.run] = self._latest[run.task.id] = run
        self.empty.clear()
        return earlier

    def remove(self, run: Run, *, abandoned: bool = False) -> None:
        self._runs.pop((run.task.id, run.task.run), None)
        if self._latest.get(run.task.id) is run:
            del self._latest[run.task.id]
        if abandoned:
            self._abandoned.add((run.task.id, run.task.run))
        if not self._runs:
            self.empty.set()
        run.end()

    def forget(self, run: Run) -> None:
        """A run that was abandoned has ended after all, and the store has heard of it."""
        self._abandoned.discard((run.task.id, run.task.run))

    def knows(self, task_id: TaskId, run: int) -> bool:
        """Whether this worker has had anything to do with this run, but for settling it."""
        return (task_id, run) in self._runs or (task_id, run) in self._abandoned

    def stop(self, task_id: TaskId, run: int, cause: StopCause) -> Run | None:
        """Stop the body of this run; return the run if its body still ran."""
        mine = self._runs.get((task_id, run))
        if mine is None:
            return None
        if cause is StopCause.cancelled and mine.task.mode not in _CAN_STOP:
            return None  # nothing is gained by abandoning it: its outcome counts
        if cause is StopCause.lease_lost and mine.past_lease:
            mine.lost_meanwhile = True
            return None
        return mine if mine.body.stop(cause) else None

    def stop_all(self, cause: StopCause) -> None:
        for run in self:
            run.body.stop(cause)
