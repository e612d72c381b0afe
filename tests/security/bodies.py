"""Bodies for child processes that look for what should not be there, and say what should not be heard."""

from __future__ import annotations

import inspect
import os
import select
import socket
import stat
import struct
import sys
import time
from pathlib import Path
from typing import Any, Literal

import msgspec

from kapusta._executors._attempt import Returned
from kapusta._executors._frames import frame
from kapusta._executors._messages import Answer, Job


def give_back(value: Any, kind: Any = None) -> Any:
    """Return what was passed: nothing is annotated, so JSON would change it."""
    return {"value": value, "kind": kind, "pid": os.getpid()}


def leave_a_lambda() -> Any:
    """Return what no pickle holds."""
    return lambda: None


def be_read() -> dict[str, str]:
    """Tell what anybody on the machine, or whoever runs a program from here, can read of this process."""
    proc = Path("/proc/self")
    words = [*sys.orig_argv, *sys.argv, *sys.path]
    seen = {"words": "\0".join(words), "environment": "\0".join(f"{k}={v}" for k, v in os.environ.items())}
    if proc.exists():
        seen["cmdline"] = (proc / "cmdline").read_bytes().decode()
        seen["environ"] = (proc / "environ").read_bytes().decode()
    return seen


def speak_at_length(announced: int, sent: int) -> None:
    """Say over the child's own channel that an answer of so many bytes comes, and send as many."""
    channel = _channel()
    channel.sendall(struct.pack(">Q", announced))
    piece = b"\xc0" * (1 << 20)
    for _ in range(sent >> 20):
        channel.sendall(piece)


def speak_nonsense(data: bytes) -> None:
    """Say these bytes over the child's own channel, as if they were an answer, and wait to be understood."""
    channel = _channel()
    channel.sendall(struct.pack(">Q", len(data)) + data)
    select.select([channel], [], [], 30)


def forge_an_answer(number: int | None) -> str:
    """Say that the body has returned, under this number or that of its own job, and then return something else."""
    if number is None:
        number = _job().number
    _say(Answer(number, returned=Returned(b'"forged"')))
    return "returned"


def begin_again_and_again(seconds: float) -> None:
    """Say for so long, ten times a second, that the body begins."""
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        _say(Answer(_job().number, begun=True))
        time.sleep(0.1)


def _say(answer: Answer) -> None:
    _channel().sendall(frame(msgspec.msgpack.encode(answer)))


def _job() -> Job:
    """The job of this body, which its caller has."""
    caller = inspect.currentframe()
    while caller is not None:
        if isinstance(job := caller.f_locals.get("job"), Job):
            return job
        caller = caller.f_back
    raise LookupError("there is no job")


def _channel() -> socket.socket:
    """The socket by which this child answers."""
    for descriptor in range(3, 256):
        try:
            is_socket = stat.S_ISSOCK(os.fstat(descriptor).st_mode)
        except OSError:
            continue
        if is_socket:
            return socket.socket(fileno=os.dup(descriptor))
    raise LookupError("there is no channel")


def fail_at_length(size: int) -> None:
    """Raise an exception with so many characters to say."""
    raise ValueError("x" * size + " the end")


def give_back_at_length(size: int) -> str:
    """Return so many characters."""
    return "x" * size


def choose(kind: Literal["one", "two"] = "one", few: dict[str, int] | None = None) -> None:
    """Take one of few values."""
