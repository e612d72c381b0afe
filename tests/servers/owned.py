"""Servers that the tests start for themselves, from the binaries on the machine, and that end with them."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

GUARD = Path(__file__).with_name("guard.py")
GUARDS: set[int] = set()
"""The processes that guard the servers, as children of this one."""

PATIENCE = 60.0
"""How many seconds a server may take to start."""


class OwnedServer:
    """A server in a folder of its own, which is deleted with it.

    Attributes:
        folder: short enough for a socket in it, and the lesser user's.
        user: as whom the server runs; ``None``: as who runs the tests.
    """

    def __init__(self, name: str, users: Sequence[str]) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix=f"kapusta-{name}-", dir=_short_temporary_folder()))
        self.user = lesser_user(users)
        if self.user is not None:
            entry = pwd.getpwnam(self.user)
            os.chown(self.folder, entry.pw_uid, entry.pw_gid)
        self._guard: subprocess.Popen[bytes] | None = None
        self._again: Callable[[], None] | None = None

    def run(self, *command: str | Path) -> None:
        """Run a program that prepares the server, as the server's user; what it prints is shown if it fails."""
        identity: dict[str, object] = {}
        if self.user is not None:
            identity = {"user": self.user, "group": pwd.getpwnam(self.user).pw_gid, "extra_groups": []}
        ran = subprocess.run(
            [str(word) for word in command],
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            **identity,  # type: ignore[call-overload]  # three of its many keywords
        )
        if ran.returncode:
            self.stop()
            raise RuntimeError(f"{command[0]} ended with {ran.returncode}:\n{ran.stdout}\n{ran.stderr}")

    def start(self, *command: str | Path, ending: str, ready: Callable[[], bool]) -> None:
        """Start the server, and return when *ready* says that it serves; *ending* is the signal that stops it."""
        self._again = lambda: self.start(*command, ending=ending, ready=ready)
        words = [ending, self.folder, self.user or "", *command]
        self._guard = subprocess.Popen(
            [sys.executable, "-I", str(GUARD), *(str(word) for word in words)],
            stdin=subprocess.PIPE,
            start_new_session=True,  # Ctrl-C is for the tests, which end it when they are through
        )
        GUARDS.add(self._guard.pid)
        deadline = time.monotonic() + PATIENCE
        while not ready():
            if self._guard.poll() is not None or time.monotonic() > deadline:
                log = self.log()
                self.stop()
                raise RuntimeError(f"The server did not start: {' '.join(map(str, command))}\n{log}")
            time.sleep(0.01)

    def crash(self, number: signal.Signals) -> None:
        """End the server by a signal, and return when it is gone; its data stays."""
        assert self._guard is not None
        assert self._guard.stdin is not None
        os.kill(int((self.folder / "server.pid").read_text()), number)
        self._guard.wait()
        self._guard.stdin.close()

    def start_again(self, *stale: Path) -> None:
        """After a crash, start it as before; *stale*: what the dead one has left, and would be taken for the new one's."""
        assert self._again is not None
        for path in stale:
            path.unlink(missing_ok=True)
        self._again()

    def log(self) -> str:
        """What the server has said."""
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def stop(self) -> None:
        """End it, and return when it is gone."""
        if self._guard is not None and self._guard.stdin is not None:
            self._guard.stdin.close()
            self._guard.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def free_port() -> int:
    """A loopback port that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def lesser_user(names: Sequence[str]) -> str | None:
    """Whom to become, if the tests run as root, which database servers refuse: the first who exists."""
    if os.geteuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return next(name for name in (*names, "nobody") if name in known)


def binary(name: str, folders: Iterable[Path]) -> Path | None:
    """A program in one of these folders, or on the path."""
    for folder in folders:
        if os.access(folder / name, os.X_OK):
            return folder / name
    found = shutil.which(name)
    return None if found is None else Path(found)


def missing(what: str, *, remedy: str) -> NoReturn:
    """Skip for want of a server, in words; where everything must be tested, fail."""
    sentence = f"{what} is missing: {remedy}"
    if os.environ.get("CI", "").lower() == "true":
        pytest.fail(sentence, pytrace=False)
    pytest.skip(sentence)


def _short_temporary_folder() -> str | None:
    """A socket's path has about a hundred characters, which the folders that macOS hands out exceed."""
    return "/tmp" if Path("/tmp").is_dir() else None  # noqa: S108 - mkdtemp makes a folder of our own in it
