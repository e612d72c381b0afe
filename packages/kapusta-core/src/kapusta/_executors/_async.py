"""On the loop, ended by the clock."""

from __future__ import annotations

import asyncio
from typing import Any, cast

from .._clock import Clock
from ._attempt import Attempt, Body, Ended, Raised, Stopped, TimedOut, too_long
from ._timeouts import Timeouts


class AsyncExecutor:
    """Runs coroutine functions in the asyncio task that claimed them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._timeouts = Timeouts(clock)

    def warm_up(self) -> None:
        """Nothing is to be made ready."""

    async def run(self, attempt: Attempt, body: Body) -> Ended:
        task = cast("asyncio.Task[object]", asyncio.current_task())  # a coroutine that runs, runs in a task
        timeout = self._timeouts.begin(task, attempt.timeout)
        body.on_stop(lambda _: task.cancel())
        try:
            value = await self._called(attempt, task)
        except asyncio.CancelledError as error:
            if body.stop_cause is not None:
                return Stopped(body.stop_cause)
            if timeout.has_passed and task.cancelling() <= 1:
                return TimedOut(too_long(attempt))
            if task.cancelling():
                raise  # the event loop is coming down
            return Raised.of(error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - also SystemExit: a body must not end the application
            # A TimeoutError of the body's own is not its timeout.
            return TimedOut(too_long(attempt)) if timeout.has_passed else Raised.of(error)
        finally:
            body.on_stop(None)
            self._timeouts.end(timeout)
            if body.stop_cause is not None and task.cancelling():
                task.uncancel()  # it was ours, and has done what it was for
        # A body that caught its cancellation and returned late has timed out all the same.
        return TimedOut(too_long(attempt)) if timeout.has_passed else attempt.encode(value)

    async def close(self) -> None:
        """Nothing is kept."""
        self._timeouts.close()

    async def _called(self, attempt: Attempt, task: asyncio.Task[object]) -> Any:
        with self._clock.busy(f"task {attempt.task_id} '{attempt.name}'", task):
            return await attempt.function(*attempt.args, **attempt.kwargs)
