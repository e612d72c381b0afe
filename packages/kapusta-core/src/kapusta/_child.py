"""What runs in the other process."""

from __future__ import annotations

import importlib
import importlib.util
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import reduce
from queue import SimpleQueue
from typing import Any, Final

import msgspec

from ._arguments import Arguments
from ._clock import SystemClock
from ._codec import Codecs
from ._errors import UnreadablePayloadError
from ._executors._attempt import ResultEncoder
from ._executors._children import KILL_GRACE
from ._executors._failure import describe, encodable, in_a_line
from ._executors._frames import frame, receive_frame
from ._executors._messages import Answer, Job, Welcome
from ._naming import ImportPath
from ._pickle_codec import PickleCodec
from ._role import importing_user_code
from ._task import Task

_PID: Final = os.getpid()


def main(descriptor: int, lifeline: int) -> None:
    """Run one job after another, until the parent has no more."""
    _end_with_parent(lifeline)
    channel = socket.socket(fileno=descriptor)
    # What a body starts, and a copy that it makes of this process, must not keep the channel open, nor speak on it.
    channel.set_inheritable(False)
    os.register_at_fork(after_in_child=channel.close)
    data = receive_frame(channel)
    if data is None:
        return  # the parent is gone
    welcome = msgspec.msgpack.decode(data, type=Welcome)
    sys.argv[:] = [os.fsdecode(word) for word in welcome.argv]
    secrets = welcome.pickle_secrets
    codecs = Codecs(None if secrets is None else PickleCodec(secret=secrets))
    jobs: SimpleQueue[Job | None] = SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_listen, args=(channel, jobs, busy), daemon=True).start()
    try:
        while (job := jobs.get()) is not None:
            answer = _answer(job, channel, codecs, welcome.max_result_bytes)
            if os.getpid() != _PID:
                return  # the body made a copy of this process and returned in it: the outcome is the original's
            _flush()
            busy.clear()
            _say(channel, answer)
    except ConnectionError:
        return  # the parent is gone, and with it whoever would hear


def _answer(job: Job, channel: socket.socket, codecs: Codecs, max_result_bytes: int) -> Answer:
    try:
        with importing_user_code(job.function.module):
            function = _found(job)
        arguments = Arguments(job.task, function, codecs)
        args, kwargs = arguments.decode(job.payload, codec=job.codec, stored_as=job.task)
    except UnreadablePayloadError as problem:
        return Answer(job.number, unreadable=encodable(str(problem)))
    except BaseException as error:  # noqa: BLE001 - also SystemExit: a script that is imported may call it
        return Answer(job.number, raised=describe(error), brief=in_a_line(error))
    if job.latest is not None and SystemClock().monotonic() >= job.latest:
        return Answer(job.number, late=True)
    _say(channel, Answer(job.number, begun=True))
    try:
        value = function(*args, **kwargs)
    except BaseException as error:
        if os.getpid() != _PID:
            raise  # a copy ends as a program of its own
        return Answer(job.number, raised=describe(error), brief=in_a_line(error))
    encode = ResultEncoder(job.task, codecs.named(job.codec), max_result_bytes, arguments)
    return Answer(job.number, returned=encode(value))


def _say(channel: socket.socket, answer: Answer) -> None:
    channel.sendall(frame(msgspec.msgpack.encode(answer)))


def _flush() -> None:
    """What a body has printed is seen now, and not when this process ends one day."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(
            AttributeError, OSError, ValueError
        ):  # there is none, nobody reads it, or the body closed it
            stream.flush()


def _found(job: Job) -> Callable[..., Any]:
    found = reduce(getattr, job.function.qualname.split("."), _module(job.function))
    function: Callable[..., Any] = found.func if isinstance(found, Task) else found
    return function


def _module(path: ImportPath) -> Any:
    if path.file is None or path.module in sys.modules:
        return importlib.import_module(path.module)
    # The program that the parent was started as: loaded by its file, under the name it would be imported by.
    spec = importlib.util.spec_from_file_location(path.module, path.file)
    if spec is None or spec.loader is None:
        return importlib.import_module(path.module)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.module] = module
    spec.loader.exec_module(module)
    return module


def _listen(channel: socket.socket, jobs: SimpleQueue[Job | None], busy: threading.Event) -> None:
    """Pass on jobs; when the channel ends, so does this process, and a body that runs with all it started."""
    while (data := receive_frame(channel)) is not None:
        busy.set()
        jobs.put(msgspec.msgpack.decode(data, type=Job))
    jobs.put(None)
    if not busy.is_set():
        # What the interpreter still has to do at its end, it may do.
        threading.Event().wait(KILL_GRACE.total_seconds())
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _end_with_parent(lifeline: int) -> None:
    """Where the kernel can, have it kill this process group when the parent's end of *lifeline* closes.

    A body that is somewhere in C, and keeps the interpreter to itself, does not let `_listen` do it.
    """
    os.set_inheritable(lifeline, False)
    if sys.platform == "linux":
        import fcntl

        fcntl.fcntl(lifeline, fcntl.F_SETOWN, -os.getpgrp())
        fcntl.fcntl(lifeline, fcntl.F_SETSIG, signal.SIGKILL)
        fcntl.fcntl(lifeline, fcntl.F_SETFL, fcntl.fcntl(lifeline, fcntl.F_GETFL) | os.O_ASYNC)
