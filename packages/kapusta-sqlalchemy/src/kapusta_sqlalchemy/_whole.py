"""Opening and closing whole: a cancelled caller leaves nothing half open."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeVar

T = TypeVar("T")

_underway: Final[set[asyncio.Task[Any]]] = set()  # asyncio itself forgets a task that nobody waits for


async def seen_through(work: Coroutine[Any, Any, T]) -> T:
    """What *work* answers. If the caller is cancelled, it goes on to its end."""
    task = asyncio.create_task(work)
    _underway.add(task)
    task.add_done_callback(_underway.discard)
    return await asyncio.shield(task)


async def opened_whole(
    opening: Coroutine[Any, Any, T],
    close: Callable[[T], Awaitable[object]],
    *,
    patience: float | None = None,
) -> T:
    """What *opening* answers. If the caller is cancelled, that is waited for, and closed.

    Drivers and pools lose a connection whose opening is cut short: it would be nobody's to close. After
    *patience* seconds the caller is let go, and whatever is opened then is closed without it.
    """
    task = asyncio.create_task(opening)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        closing = asyncio.create_task(_close_opened(task, close))
        _underway.add(closing)
        closing.add_done_callback(_underway.discard)
        await asyncio.wait([closing], timeout=patience)
        raise


async def _close_opened(task: asyncio.Task[T], close: Callable[[T], Awaitable[object]]) -> None:
    await asyncio.wait([task])
    if not task.cancelled() and task.exception() is None:
        await close(task.result())
