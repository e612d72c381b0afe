"""A task id that can be asked."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import Any, Final, Generic, SupportsIndex, TypeVar

from ._backoff import Backoff
from ._durations import as_timedelta
from ._enums import TaskStatus
from ._errors import (
    KapustaValueError,
    ResultNotStoredError,
    TaskFailedError,
    TaskNotFinishedError,
    TaskNotFoundError,
)
from ._futures import resolve
from ._options import Policy
from ._outcomes import cancelled, retried
from ._records import MAX_ID, Change, ChangeAnswer, StoredTask, TaskQuery
from ._store import Store
from .types import Duration, TaskId

R_co = TypeVar("R_co", covariant=True)

_LOOK_AGAIN: Final = Backoff(initial=timedelta(milliseconds=50), maximum=timedelta(seconds=1), jitter=False)


def as_task_id(value: object) -> TaskId:
    """*value*, if it is a whole number.

    Raises:
        KapustaValueError: it is not; text is none either, nor is a truth value.
    """
    if isinstance(value, bool) or not isinstance(value, SupportsIndex):
        raise KapustaValueError(
            option="task_id",
            value=value,
            problem="is no task id",
            remedy="Give the number that launch() answered; of its text int() makes the number again.",
        )
    return int(value)


class TaskClient:
    """Asks the store about tasks, and changes them by hand; written by the loop it is used on.

    Whoever waits for a task is woken at once when a worker of this process settles it, and looks again from
    time to time for those that others settle.
    """

    def __init__(
        self, store: Store, decode: Callable[[StoredTask], Any], revived: Callable[[], object]
    ) -> None:
        self._store, self._decode, self._revived = store, decode, revived
        self._waiting: dict[TaskId, set[asyncio.Future[None]]] = {}

    async def find(self, task_id: TaskId) -> StoredTask | None:
        """The task as it is stored; ``None`` if there is none."""
        number = as_task_id(task_id)
        if not 0 < number <= MAX_ID:
            return None  # no store can have it, and some cannot even be asked
        found = await self._store.ask(TaskQuery(ids=frozenset({number}), limit=1))
        return found[0] if found else None

    async def status(self, task_id: TaskId) -> TaskStatus:
        return (await self._existing(task_id)).status

    async def result(self, task_id: TaskId, timeout: Duration | None = None) -> Any:
        """Wait until the task has ended, or is held, and answer its decoded result."""
        return self.outcome(await self._ended(task_id, timeout))

    def outcome(self, task: StoredTask) -> Any:
        """The decoded result of a task that has ended, or the error that says why there is none."""
        if task.status is not TaskStatus.success:
            raise TaskFailedError(
                task_id=task.id, name=task.name, status=task.status, error=task.error, reason=task.reason
            )
        if task.result is None:
            raise ResultNotStoredError(task_id=task.id, reason=task.reason)
        return self._decode(task)

    async def cancel(self, task_id: TaskId) -> bool:
        return await self._by_hand(task_id, cancelled, TaskStatus.cancelled)

    async def retry(self, task_id: TaskId) -> bool:
        return await self._by_hand(
            task_id, lambda task: retried(task, Policy.read(task.options)), TaskStatus.pending
        )

    def settled(self, task_ids: Iterable[TaskId] | None = None) -> None:
        """Wake whoever waits for these tasks, or for any: their status may have changed."""
        if not self._waiting:
            return
        for task_id in list(self._waiting) if task_ids is None else task_ids:
            for waiting in self._waiting.get(task_id, ()):
                if not waiting.get_loop().is_closed():  # one that ended without cancelling its tasks
                    resolve(waiting, None)

    async def _by_hand(
        self, task_id: TaskId, decide: Callable[[StoredTask], Change], becomes: TaskStatus
    ) -> bool:
        seen = None
        while True:
            task = await self._existing(task_id)
            seen = seen or task
            if becomes is TaskStatus.pending and task.run > seen.run:
                # It has its other life: the reply that said so was lost, or somebody else was faster. One that waited
                # may have been claimed instead.
                return seen.status is not TaskStatus.pending or task.status is TaskStatus.pending
            if task.status is TaskStatus.started or (
                becomes is TaskStatus.cancelled and task.status.is_final
            ):
                return task.status is becomes
            if task.status is not seen.status:
                return False  # what was wished was wished of what it was
            changed = await self._store.decide(decide(task))
            if changed.answer is ChangeAnswer.accepted:
                self.settled([task.id])
                self._revived()
                return True

    async def _existing(self, task_id: TaskId) -> StoredTask:
        task = await self.find(task_id)
        if task is None:
            raise TaskNotFoundError(task_id=int(task_id))
        return task

    async def _ended(self, task_id: TaskId, timeout: Duration | None) -> StoredTask:
        clock = self._store.clock
        seconds = None if timeout is None else as_timedelta("timeout", timeout).total_seconds()
        give_up = None if seconds is None else clock.monotonic() + seconds
        looks = 0
        while True:
            # Waiting begins before looking, so that an outcome between the two is not missed.
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.setdefault(task_id, set()).add(waiting)
            try:
                task = await self._existing(task_id)
                if task.status.is_final or task.status is TaskStatus.held:
                    return task
                now = clock.monotonic()
                if give_up is not None and now >= give_up:
                    raise TaskNotFinishedError(
                        task_id=int(task_id), status=task.status, timeout=seconds or 0.0
                    )
                looks += 1
                again = now + _LOOK_AGAIN.delay(looks, 1.0).total_seconds()
                await self._wait(waiting, again if give_up is None else min(again, give_up))
            finally:
                self._forget(task_id, waiting)

    async def _wait(self, waiting: asyncio.Future[None], until: float) -> None:
        timer = self._store.clock.call_at(until, lambda: resolve(waiting, None))
        try:
            await waiting
        finally:
            timer.cancel()

    def _forget(self, task_id: TaskId, waiting: asyncio.Future[None]) -> None:
        others = self._waiting[task_id]
        others.discard(waiting)
        if not others:
            del self._waiting[task_id]


class TaskHandle(int, Generic[R_co]):
    """The id of a launched task, which can be asked about it.

    It is an ``int``: it compares, prints, pickles and encodes as the id, and the id alone is enough for
    ``kapusta.get_task_status`` and ``kapusta.handle``.
    """

    _client: TaskClient

    def __new__(cls, task_id: TaskId, client: TaskClient) -> TaskHandle[R_co]:
        handle = super().__new__(cls, task_id)
        handle._client = client
        return handle

    def __reduce__(self) -> tuple[type[int], tuple[int]]:
        return (int, (int(self),))

    async def status(self) -> TaskStatus:
        """Where the task stands.

        Raises:
            TaskNotFoundError: no task has this id.
        """
        return await self._client.status(self)

    async def result(self, timeout: Duration | None = None) -> R_co:
        """Wait until the task has ended, and answer what its function returned.

        Args:
            timeout: how long to wait, in seconds or as a ``timedelta``; ``None``: until it has ended. It passes by
                the store's clock: with a `ManualClock`, not before the test moves it. 0 does not wait.

        Raises:
            TaskFailedError: it ended without a result, or is held; ``error.status`` says which.
            TaskNotFinishedError: it had not ended in time; it goes on.
            ResultNotStoredError: it succeeded, and its result could not be stored.
            ResultUnreadableError: it succeeded, and its result does not fit the function's annotation.
            TaskNotFoundError: no task has this id.
        """
        result: R_co = await self._client.result(self, timeout)
        return result

    async def cancel(self) -> bool:
        """Cancel the task unless it is running; answer whether it is cancelled now.

        A running task goes on, and a task that has ended stays as it is: then the answer is ``False``.

        Raises:
            TaskNotFoundError: no task has this id.
        """
        return await self._client.cancel(self)

    async def retry(self) -> bool:
        """Give the task another life, due at once, unless it is running; answer whether it is pending now.

        Its counters start again, its deadline counts from now, and answers of its earlier runs are refused; so it is
        with a task that waits, for its eta, its next attempt or a worker that can run it. A held task whose late answer
        comes in this moment has ended with that, and is left so.

        Raises:
            TaskNotFoundError: no task has this id.
        """
        return await self._client.retry(self)
