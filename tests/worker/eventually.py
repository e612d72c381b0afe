"""Waiting for something that happens in real time, for so long and no longer."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

_LOOK_AGAIN = 0.01


async def eventually(look: Callable[[], T | Awaitable[T]], what: str, *, within: float = 20.0) -> T:
    """The first truthy answer of *look*, which may be awaitable; fails, and says *what*, after so many seconds."""
    give_up = time.monotonic() + within
    while True:
        answer = look()
        seen: T = await answer if inspect.isawaitable(answer) else answer  # type: ignore[assignment]  # not awaitable
        if seen:
            return seen
        assert time.monotonic() < give_up, f"not within {within:g} s: {what}"
        await asyncio.sleep(_LOOK_AGAIN)
