"""Trying again while another writer is in the way."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Final, TypeVar

from kapusta.backend import StoreUnavailableError, SystemClock

from ._dialects import Dialect

T = TypeVar("T")

# Core gives a call ten seconds, and a driver may wait for a lock for five, which is Python's default: nothing is
# begun again after this, so that the trouble is named before the call is given up.
_PATIENCE: Final = 4.5
_PAUSE: Final = 0.02
# Conflicts between writers happen between processes, in real time, whatever clock a test moves.
_clock: Final = SystemClock()


@asynccontextmanager
async def answered_within(seconds: float | None, operation: str) -> AsyncIterator[None]:
    """Give up what is done within, after so many seconds without an end; ``None``: never.

    Raises:
        StoreUnavailableError: it was given up.
    """
    limit = asyncio.timeout(seconds)
    try:
        async with limit:
            yield
    except TimeoutError as error:
        if not limit.expired():
            raise
        raise StoreUnavailableError(operation=operation, problem=f"no answer within {seconds:g} s") from error


async def patiently(dialect: Dialect, operation: str, attempt: Callable[[], Awaitable[T]]) -> T:
    """What *attempt* answers, once it is not in another writer's way.

    Raises:
        StoreUnavailableError: the database cannot do it, or not before patience ends.
    """
    begun = _clock.monotonic()
    while True:
        try:
            return await attempt()
        except StoreUnavailableError:
            raise  # it has said what is wrong
        except dialect.errors as error:
            trouble = dialect.trouble(error)
            if trouble is None:
                raise
            if not trouble.passes or _clock.monotonic() - begun > _PATIENCE:
                raise StoreUnavailableError(
                    operation=operation, problem=trouble.problem, busy=trouble.passes
                ) from error
        await _clock.sleep(_PAUSE * random.random())  # noqa: S311 - it spreads writers, it hides nothing
