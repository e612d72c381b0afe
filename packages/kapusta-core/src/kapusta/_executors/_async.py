"""On the loop, ended by the clock."""

from __future__ import annotations

import asyncio
from typing import cast

from .._clock import Clock
from ._attempt import Attempt, Body, Ended, Raised, Stopped, TimedOut, too_long
from ._failure import describe, in_a_line


class AsyncExecutor:
    """Runs coroutine functions in the asyncio task that claimed them."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def warm_up(self) -> None:
        """Nothing is to be made ready."""

    async def run(self, attempt: Attempt, body: Body) -> Ended:
        loop = asyncio.get_running_loop()
        task = cast("asyncio.Task[object]", asyncio.current_task())  # a coroutine that runs, runs in a task
        scope = asyncio.timeout(None)
        timer = None
        try:
            async with scope:
                if attempt.timeout is not None:
                    end = self._clock.monotonic() + attempt.timeout.total_seconds()
                    timer = self._clock.call_at(end, lambda: scope.reschedule(loop.time()))
                with (
                    body.stoppable(lambda _: task.cancel()),
                    self._clock.busy(f"task {attempt.task_id} '{attempt.name}'", task),
                ):
                    value = await attempt.function(*attempt.args, **attempt.kwargs)
        except asyncio.CancelledError as error:
            if body.stop_cause is not None:
                return Stopped(body.stop_cause)
            if task.cancelling():
                raise  # the event loop is coming down
            return _raised(error)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # noqa: BLE001 - also SystemExit: a body must not end the application
            # Only the scope knows its own timeout from a TimeoutError of the body's.
            return TimedOut(too_long(attempt)) if scope.expired() else _raised(error)
        finally:
            if timer is not None:
                timer.cancel()
            if body.stop_cause is not None and task.cancelling():
                task.uncancel()  # it was ours, and has done what it was for
        # A body that caught its cancellation and returned late has timed out all the same.
        return TimedOut(too_long(attempt)) if scope.expired() else attempt.encode(value)

    async def close(self) -> None:
        """Nothing is kept."""


def _raised(error: BaseException) -> Raised:
    return Raised(describe(error), in_a_line(error))
