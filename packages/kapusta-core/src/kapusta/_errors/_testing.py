"""What may go wrong in a test."""

from __future__ import annotations

from collections.abc import Sequence

from ._root import KapustaError


class StillBusyError(KapustaError, TimeoutError):
    """Time cannot be moved on: something real did not come to an end."""

    def __init__(self, *, busy: Sequence[str], seconds: float) -> None:
        self.busy, self.seconds = tuple(busy), seconds
        super().__init__(
            f"After {seconds:g} s of real time these are still busy: {', '.join(busy)}. A body that only waits "
            f"for time should `await clock.sleep(...)`; one that waits for the test, for an asyncio.Event."
        )
