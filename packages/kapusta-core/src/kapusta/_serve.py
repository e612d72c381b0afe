"""A worker without an application around it."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
import sys
import traceback
from functools import reduce
from pathlib import Path
from typing import Final

from ._errors import MissingMainGuardError, StoreError, TargetError
from ._events import LogEvent, log_event
from ._kapusta import Kapusta
from ._role import importing_user_code

EXIT_TARGET: Final = 78  # EX_CONFIG of sysexits.h: starting again would not help
EXIT_STORE: Final = 75  # EX_TEMPFAIL: it may help
_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)
_SAFE_PATH: Final = (
    "Python does not look into the current folder, because of -P, -I or PYTHONSAFEPATH: install the module, or start "
    "Python without these."
)
_log: Final = logging.getLogger("kapusta")


def set_up_logging(level: str) -> None:
    """Log to standard error, unless the program has set up logging itself."""
    logging.basicConfig(level=level, format="%(asctime)s %(process)d %(levelname)s %(name)s: %(message)s")


def load(target: str) -> Kapusta:
    """The Kapusta that ``package.module:attribute`` names.

    Raises:
        TargetError: there is none.
    """
    module, separator, attribute = target.partition(":")
    if not (module and separator and attribute):
        raise TargetError(target=target, problem="is not of the form package.module:kapusta")
    if not sys.flags.safe_path and (here := os.getcwd()) not in sys.path:  # noqa: PTH109 - sys.path holds text
        sys.path.insert(0, here)
    try:
        with importing_user_code(module):
            holds = importlib.import_module(module)
    except MissingMainGuardError as problem:
        does = f'does its work when it is imported: {problem.action} was called outside of `if __name__ == "__main__":`'
        raise TargetError(target=target, problem=does) from problem
    except SystemExit as problem:
        does = f"cannot be loaded: importing '{module}' ended in sys.exit({problem.code!r})"
        raise TargetError(target=target, problem=does) from problem
    except Exception as problem:
        if isinstance(problem, ModuleNotFoundError) and f"{module}.".startswith(f"{problem.name}."):
            does = f"cannot be loaded: {problem}"
            if sys.flags.safe_path:
                raise TargetError(target=target, problem=does, remedy=_SAFE_PATH) from problem
            raise TargetError(target=target, problem=does) from problem
        raise TargetError(
            target=target,
            problem=f"cannot be loaded: importing '{module}' raised {type(problem).__name__}: {problem}{_place(problem)}",
            remedy=f'Mend that first; python -c "import {module}" shows the whole way there.',
        ) from problem
    try:
        found: object = reduce(getattr, attribute.split("."), holds)
    except AttributeError as problem:
        raise TargetError(target=target, problem=f"cannot be loaded: {problem}") from problem
    if not isinstance(found, Kapusta):
        kind = "a class" if isinstance(found, type) else f"of type {type(found).__name__}"
        raise TargetError(target=target, problem=f"is {kind}, not a Kapusta")
    return found


def _place(problem: Exception) -> str:
    """Where in a file it was raised, for a sentence; a syntax error says so itself."""
    frames = [frame for frame in traceback.extract_tb(problem.__traceback__) if Path(frame.filename).exists()]
    if isinstance(problem, SyntaxError) or not frames:
        return ""
    return f" (in {frames[-1].filename}, line {frames[-1].lineno})"


def serve(target: str, *, lifeline: int | None = None) -> int:
    """Run the tasks of *target* until a signal, or until the *lifeline* ends; answer the exit code.

    The lifeline is the reading end of a pipe whose other end a leading process holds: it ends with that process.
    """
    try:
        kapusta = load(target)
    except TargetError as problem:
        log_event(_log, LogEvent.worker_failed, "%s", problem)
        return EXIT_TARGET
    try:
        return asyncio.run(_serve(kapusta, target, lifeline))
    except StoreError as problem:
        log_event(_log, LogEvent.worker_failed, "%s", problem)
        return EXIT_STORE


async def _serve(kapusta: Kapusta, target: str, lifeline: int | None) -> int:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            os._exit(128 + number)  # the second one: at once
        what = "%s: letting running tasks finish; once more stops at once."
        log_event(_log, LogEvent.worker_stopping, what, number.name)
        stop.set()

    def on_end_of_leader(lifeline: int) -> None:
        loop.remove_reader(lifeline)  # it stays at its end, and would be reported again and again
        what = "The leading process is gone: letting running tasks finish."
        log_event(_log, LogEvent.worker_stopping, what)
        stop.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    if lifeline is not None:
        loop.add_reader(lifeline, on_end_of_leader, lifeline)
    starting = asyncio.ensure_future(kapusta.startup())
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            starting.result()
            log_event(_log, LogEvent.worker_started, "Working for %s: %s", target, repr(kapusta))
            await stopping
        return 0
    finally:
        starting.cancel()
        stopping.cancel()
        if lifeline is not None:
            loop.remove_reader(lifeline)
        await kapusta.shutdown()
