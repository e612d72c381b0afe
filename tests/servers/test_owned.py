"""Servers of the tests end with them, however those end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.servers.owned import missing

ROOT = Path(__file__).parents[2]

# Starts a server that only waits, says where and who it is, and waits too.
_TESTS = """
import signal, time
from tests.servers.owned import OwnedServer

signal.signal(signal.SIGINT, signal.default_int_handler)  # what runs in the background may have been told
signal.signal(signal.SIGHUP, signal.SIG_DFL)              # to ignore both
server = OwnedServer("demo", [])
pid = server.folder / "pid"
waits = "echo $$ > pid; exec sleep 600"
server.start("/bin/sh", "-c", waits, ending="SIGTERM", ready=lambda: pid.exists() and pid.read_text())
print(server.folder, pid.read_text(), flush=True)
try:
    time.sleep(600)
finally:
    server.stop()
"""


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.skipif(os.name != "posix", reason="signals are POSIX")
@pytest.mark.parametrize("ending", [signal.SIGKILL, signal.SIGINT, signal.SIGHUP])
def test_a_server_ends_with_the_tests(ending: signal.Signals) -> None:
    """Killed, interrupted or left by their terminal: the server is gone, and so is its folder."""
    tests = subprocess.Popen([sys.executable, "-c", _TESTS], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert tests.stdout is not None
    folder, pid = tests.stdout.readline().split()
    assert _is_alive(int(pid))

    tests.send_signal(ending)
    tests.wait()
    tests.stdout.close()

    give_up = time.monotonic() + 15
    while Path(folder).exists() or _is_alive(int(pid)):
        assert time.monotonic() < give_up, "the server outlived the tests"
        time.sleep(0.01)


@pytest.mark.parametrize(
    ("variable", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)]
)
def test_a_missing_server_is_confessed(
    monkeypatch: pytest.MonkeyPatch, variable: str, outcome: type[BaseException]
) -> None:
    """At a desk the tests are skipped, in words that say what to install; where all must be tested, they fail."""
    monkeypatch.setenv("CI", variable)

    with pytest.raises(outcome, match="PostgreSQL is missing: apt-get install postgresql"):
        missing("PostgreSQL", remedy="apt-get install postgresql")
