"""`python -m kapusta worker`, started, watched, killed and stopped by a test."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

from tests.processes.workers import PROGRAMS
from tests.worker.eventually import eventually
from tests.worker.leftovers import children_of, is_alive


class Fleet:
    """The leading process and those that it leads; what they log goes to a file.

    Attributes:
        pid: the leader's.
    """

    def __init__(self, leader: asyncio.subprocess.Process, log: Path) -> None:
        self._leader, self._log, self._seen = leader, log, {leader.pid}
        self.pid = leader.pid

    @classmethod
    async def start(
        cls,
        folder: Path,
        url: str,
        tasks: Mapping[str, str],
        *,
        processes: int = 2,
        target: str = "crew:kapusta",
        lease: float = 30,
        grace: float = 10,
        cwd: Path = PROGRAMS,
    ) -> Fleet:
        """Start it, with *tasks*: bodies and their modes."""
        crew = {"url": url, "lease": lease, "grace": grace, "tasks": dict(tasks)}
        log = folder / "fleet.log"
        with log.open("wb") as output:
            leader = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "kapusta",
                "worker",
                target,
                f"--processes={processes}",
                cwd=cwd,
                env={**os.environ, "CREW": json.dumps(crew)},
                stdout=output,
                stderr=output,
            )
        return cls(leader, log)

    @property
    def log(self) -> str:
        """What has been logged so far, by all of them."""
        return self._log.read_text()

    async def logs(self, pattern: str, *, times: int = 1) -> None:
        """Return when what fits this pattern has been logged so often."""

        def is_logged() -> bool:
            return len(re.findall(pattern, self.log)) >= times

        try:
            await eventually(is_logged, f"{pattern} is logged {times} times", within=40)
        except AssertionError as problem:
            problem.add_note(self.log)
            raise

    async def working(self, count: int) -> list[int]:
        """The workers that live, once so many of them work."""

        def those() -> list[int]:
            said = re.findall(r"^\S+ \S+ (\d+) INFO kapusta: Working for .*$", self.log, re.MULTILINE)
            alive = [int(pid) for pid in said if is_alive(int(pid))]
            return alive if len(alive) == count else []

        found: list[int] = await eventually(those, f"{count} work", within=40)
        return found

    def look(self) -> set[int]:
        """All processes of the fleet that were ever seen, down to the children of bodies."""
        for _ in range(4):
            self._seen |= {child for pid in self._seen for child in children_of(pid)}
        return self._seen

    def signal(self, number: signal.Signals) -> None:
        """Send the leader a signal."""
        self._leader.send_signal(number)

    async def ended(self) -> int:
        """The leader's exit code, once it has ended."""
        async with asyncio.timeout(40):
            return await self._leader.wait()

    async def nothing_left(self) -> None:
        """Return when no process that was seen is alive."""
        await eventually(lambda: not any(map(is_alive, self._seen)), f"all are gone: {self._seen}")

    async def stop(self) -> None:
        """Kill what is left of it."""
        for pid in self.look():
            if is_alive(pid):
                os.kill(pid, signal.SIGKILL)
        await self._leader.wait()
