"""The process and the event loop that something was made on."""

from __future__ import annotations

import asyncio
import os
from typing import NamedTuple


class Home(NamedTuple):
    """A process and an event loop: whatever waits on the loop is of use nowhere else; immutable.

    A fork copies the loop, with everything that waits on it, and none of it ever moves in the copy.
    """

    process: int
    loop: asyncio.AbstractEventLoop

    @classmethod
    def here(cls) -> Home:
        """Return the home of the caller, which runs on a loop."""
        return cls(os.getpid(), asyncio.get_running_loop())

    @property
    def is_alive(self) -> bool:
        """Whether the loop runs, in this process."""
        return self.process == os.getpid() and self.loop.is_running()

    @property
    def is_over(self) -> bool:
        """Whether the loop will never run again, in this process."""
        return self.process != os.getpid() or self.loop.is_closed()
