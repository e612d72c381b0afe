"""A future that may have been answered already."""

from __future__ import annotations

import asyncio
from typing import TypeVar

T = TypeVar("T")


def resolve(future: asyncio.Future[T], answer: T) -> None:
    """Answer *future*, unless it has its answer, or nobody waits for it any more."""
    if not future.done():
        future.set_result(answer)
