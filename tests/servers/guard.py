"""Runs a server for the tests, and ends it as soon as they are gone.

``python guard.py SIGNAL FOLDER USER COMMAND...``. The tests hold the other end of this program's standard input.
When it closes, because they are over or were killed, the server gets SIGNAL, ten seconds later SIGKILL, and FOLDER
is deleted. Needs nothing but Python: it outlives the process that started it.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

GRACE = 10.0


def main(ending: str, folder: str, user: str, *command: str) -> None:
    """Run *command* in *folder* until standard input ends."""
    identity = _identity_of(user) if user else {}
    with (Path(folder) / "server.log").open("ab") as log:
        server = subprocess.Popen(
            command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, **identity
        )
    (Path(folder) / "server.pid").write_text(str(server.pid))  # for tests that crash it

    over = threading.Event()

    def watch() -> None:
        code = server.wait()
        if not over.is_set():  # the tests see that this program has ended, and in the log why
            os._exit(code or 1)

    threading.Thread(target=watch, daemon=True).start()
    sys.stdin.buffer.read()
    over.set()
    server.send_signal(signal.Signals[ending])
    try:
        server.wait(GRACE)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()
    shutil.rmtree(folder, ignore_errors=True)


def _identity_of(user: str) -> dict[str, object]:
    return {"user": user, "group": pwd.getpwnam(user).pw_gid, "extra_groups": []}


if __name__ == "__main__":
    main(*sys.argv[1:])
