"""What happened, as lines in files: written by every process of a run, and read meanwhile and when it is over.

A line is written by one system call, so a process that is killed leaves whole lines behind. What a body does is also
forced to the disk. A file has at most `SEGMENT` bytes, so that a process that may write only small files (see the
fault `full`) can still tell what it does.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from tests.chaos.events import AnyEvent

SEGMENT: Final = 16 << 10
LIMIT: Final = 2 * SEGMENT
"""How large a file may be for a process whose disk is full."""

_decoder: Final = msgspec.json.Decoder(AnyEvent)


class Journal:
    """The files of one process; used from any thread, under its own lock."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._descriptor = -1
        self._size = self._segments = 0

    def write(self, event: AnyEvent, *, forced: bool = False) -> None:
        """Append a line; *forced*: and return when the disk has it."""
        line = msgspec.json.encode(event) + b"\n"
        with self._lock:
            if self._descriptor < 0 or self._size + len(line) > SEGMENT:
                self._turn_over()
            os.write(self._descriptor, line)
            self._size += len(line)
            if forced:
                os.fsync(self._descriptor)

    def _turn_over(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
        self._segments += 1
        path = self._folder / f"{os.getpid()}-{time.monotonic_ns()}-{self._segments}.jsonl"
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL, 0o600)
        self._size = 0


class Reader:
    """Reads a folder of journals bit by bit, while they are written."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[Path, int] = {}

    def new(self) -> Iterator[AnyEvent]:
        """What has been written since; of each process in order."""
        with os.scandir(self._folder) as entries:
            grown = [
                Path(entry.path)
                for entry in entries
                if entry.name.endswith(".jsonl")
                and entry.stat().st_size > self._read.get(Path(entry.path), 0)
            ]
        for path in sorted(grown):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._read[path] = self._read.get(path, 0) + len(line)
                    yield _decoder.decode(line)
