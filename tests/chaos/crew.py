"""The workers of a run: real processes, each started again when it has ended."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

from kapusta.testing import Proxy
from tests.architecture.tree import ROOT
from tests.chaos.bodies import FOLDER
from tests.chaos.engines import Engine

_PAUSE: Final = 0.3
"""Seconds until a worker that has ended, for whatever reason, is started again."""
_STOP: Final = 30.0


class Member:
    """A place in the crew: one process after the other; whoever makes a fault in it holds `taken` meanwhile.

    Attributes:
        proxy: its way to the server, if there is one.
        working: set while its process says that it works.
        starts: how many processes there have been.
    """

    def __init__(self, engine: Engine, folder: Path, lease: float, *, children: bool) -> None:
        self._engine, self._folder, self._lease, self._children = engine, folder, lease, children
        address = engine.address
        self.proxy = Proxy(address.host or "", address.port or 0) if engine.server else None
        self.taken = asyncio.Lock()
        self.working = asyncio.Event()
        self.ended = asyncio.Event()
        self.starts = 0
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False

    @property
    def pid(self) -> int:
        """Of the process that there is now, or was last."""
        assert self._process is not None
        return self._process.pid

    async def live(self) -> None:
        """Have a process until `stop` is called."""
        if self.proxy is None:
            await self._live(self._engine.url)
            return
        async with self.proxy:
            await self._live(self._engine.url_at(self.proxy.port))

    async def _live(self, url: str) -> None:
        while not self._stopping:
            await self._live_once(url)
            await asyncio.sleep(_PAUSE)

    async def _live_once(self, url: str) -> None:
        errors = self._folder / "workers.err"
        with errors.open("ab") as file:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "tests.chaos.program",
                url,
                str(self._lease),
                "yes" if self._children else "no",
                cwd=ROOT,
                env={**os.environ, FOLDER: str(self._folder)},
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=file,
            )
        self._process = process
        self.starts += 1
        self.ended.clear()
        try:
            assert process.stdout is not None
            if await process.stdout.readline():
                self.working.set()
            await process.wait()
        finally:
            self.working.clear()
            self.ended.set()
            if process.returncode is None:
                process.kill()
                await process.wait()

    def tell(self, *words: str) -> None:
        """Send its process a command; one that is gone does not hear it."""
        assert self._process is not None
        assert self._process.stdin is not None
        if not self._process.stdin.is_closing():
            self._process.stdin.write((" ".join(words) + "\n").encode())

    def signal(self, number: signal.Signals) -> None:
        """Send its process a signal."""
        assert self._process is not None
        with suppress(ProcessLookupError):
            self._process.send_signal(number)

    async def stop(self) -> None:
        """Let its process shut down by itself; the hard way if it does not."""
        self._stopping = True
        if self._process is None or self._process.returncode is not None:
            return
        assert self._process.stdin is not None
        self._process.stdin.close()
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOP):
                await self.ended.wait()
        if self._process.returncode is None:
            self._process.kill()
            await self.ended.wait()
