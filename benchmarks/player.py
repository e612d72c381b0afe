"""The conductor's end of a contestant: a process that is given commands and asked for replies."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from benchmarks.entries import Entry

ROOT = Path(__file__).parent.parent
PATIENCE = 300.0
"""Seconds that one command may take. A contestant that takes longer is stuck, and is ended."""


class ContestantError(Exception):
    """A contestant could not do what it was told."""


class Player:
    """A running contestant.

    Attributes:
        entry: the contestant.
    """

    def __init__(self, entry: Entry, python: Path) -> None:
        self.entry = entry
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end()`
        words = [str(python), "-m", f"benchmarks.contestants.{entry.program}"]
        self._process = subprocess.Popen(
            [*words, "uvloop"] if entry.loop == "uvloop" else words,
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            text=True,
            bufsize=1,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def open(self, url: str, *, names: int = 0) -> None:
        """Connect the contestant to a database."""
        self.ask("open", url=url, slots=self.entry.slots, names=names)

    def ask(self, do: str, **words: Any) -> dict[str, Any]:
        """Give a command, and return the reply.

        Raises:
            ContestantError: the command failed, or the process has ended or is stuck; with all that it has printed.
        """
        self.tell(do, **words)
        return self.hear()

    def tell(self, do: str, **words: Any) -> None:
        """Give a command; `hear` returns the reply."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **words}) + "\n")
        except BrokenPipeError:
            raise ContestantError(self._report("it has ended")) from None

    def hear(self) -> dict[str, Any]:
        """Return the reply to the last command."""
        assert self._process.stdout is not None
        too_late = threading.Timer(PATIENCE, self._process.kill)
        too_late.start()
        try:
            line = self._process.stdout.readline()
        finally:
            too_late.cancel()
        if not line:
            self._process.wait()
            raise ContestantError(self._report(f"it ended with {self._process.returncode}"))
        reply: dict[str, Any] = json.loads(line)
        if "error" in reply:
            raise ContestantError(self._report(reply["error"]))
        return reply

    def end(self) -> None:
        """End the process, and return when it is gone."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(BrokenPipeError):  # a command that the process did not live to read
            self._process.stdin.close()
        self._process.stdout.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._said.close()

    def _report(self, what: str) -> str:
        self._said.seek(0)
        printed = self._said.read().decode(errors="replace")
        return f"{self.entry.name} on {self.entry.engine}: {what}\n{printed}"
