"""Real processes that work on one SQLite file, started, stopped and killed by a test."""

from __future__ import annotations

import asyncio
import itertools
import re
import signal
import sys
from pathlib import Path

from tests.worker.eventually import eventually

PROGRAMS = Path(__file__).parent / "programs"

_numbers = itertools.count()


class Program:
    """One of the programs, while it runs; what it logs goes to a file in the folder."""

    def __init__(self, child: asyncio.subprocess.Process, log: Path) -> None:
        self._child, self._log = child, log
        self.pid = child.pid

    @classmethod
    async def start(cls, folder: Path, program: str, *arguments: object) -> Program:
        """Start it, and return when it says that it is ready."""
        log = folder / f"{program}-{next(_numbers)}.log"
        with log.open("wb") as errors:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                str(PROGRAMS / program),
                *map(str, arguments),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=errors,
            )
        self = cls(child, log)
        assert await self.read() == "ready", self.log
        return self

    async def read(self) -> str:
        """The next line that it prints."""
        assert self._child.stdout is not None
        async with asyncio.timeout(30):
            return (await self._child.stdout.readline()).decode().strip()

    async def write(self, line: str) -> None:
        """A line that it reads."""
        assert self._child.stdin is not None
        self._child.stdin.write(f"{line}\n".encode())
        await self._child.stdin.drain()

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self._log.read_text()

    async def logs(self, pattern: str) -> None:
        """Return when it has logged what fits this pattern."""
        await eventually(lambda: re.search(pattern, self.log), f"{pattern} is logged by {self.pid}")

    def kill(self) -> None:
        """As a power cut would."""
        self._child.kill()

    def freeze(self) -> None:
        """As a suspended machine would."""
        self._child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        self._child.send_signal(signal.SIGCONT)

    async def stop(self) -> None:
        """Let it shut down by itself; the hard way if it does not."""
        if self._child.returncode is not None:
            return
        self.thaw()
        assert self._child.stdin is not None
        self._child.stdin.close()
        try:
            async with asyncio.timeout(30):
                await self._child.wait()
        finally:
            if self._child.returncode is None:
                self._child.kill()
                await self._child.wait()
