"""What the tasks of a run do: leave a mark when they begin and another when they end, and take their time in between."""

from __future__ import annotations

import asyncio
import os
import secrets
import signal
import time
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from kapusta import Kapusta, Task
from tests.chaos.events import Began, Ended
from tests.chaos.journal import Journal
from tests.chaos.phases import Snare

FOLDER: Final = "CHAOS_FOLDER"
"""The variable that says where this run's history is."""


class PlannedError(Exception):
    """A body fails because it was told to."""


@cache
def journal() -> Journal:
    """This process's."""
    return Journal(Path(os.environ[FOLDER]))


@cache
def snare() -> Snare:
    """This process's."""
    return Snare(journal())


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    """What a body is to do.

    Attributes:
        seconds: how long it takes.
        failing: at how many attempts it fails.
        hold: whether its task is held after a crash.
    """

    seconds: float
    failing: int
    hold: bool


def _begin(task: int, run: int, until: float = 0.0) -> str:
    nonce = f"nonce-{secrets.token_hex(8)}"
    journal().write(Began(task=task, run=run, nonce=nonce, until=until), forced=True)
    return nonce


def _end(nonce: str, *, fails: bool) -> str:
    journal().write(Ended(nonce=nonce, how="raised" if fails else "returned"), forced=True)
    if fails:
        raise PlannedError(nonce)
    return nonce


async def wait(serial: int, orders: Orders, task: int = 0, run: int = 0, failures: int = 0) -> str:
    """Take so long, and fail at the first so many attempts."""
    nonce = _begin(task, run, 0.0 if orders.hold else time.monotonic() + orders.seconds)
    try:
        await asyncio.sleep(orders.seconds / 2)
        snare().pass_through("running")
        await asyncio.sleep(orders.seconds / 2)
    except asyncio.CancelledError:
        journal().write(Ended(nonce=nonce, how="stopped"), forced=True)
        raise
    return _end(nonce, fails=failures < orders.failing)


def block(serial: int, orders: Orders, task: int = 0, run: int = 0, failures: int = 0) -> str:
    """The same, and nothing can stop it but the end of its process."""
    nonce = _begin(task, run)
    time.sleep(orders.seconds / 2)
    snare().pass_through("running")
    time.sleep(orders.seconds / 2)
    return _end(nonce, fails=failures < orders.failing)


def die(serial: int, orders: Orders, task: int = 0, run: int = 0, failures: int = 0) -> str:
    """In a process of its own: kill it."""
    nonce = _begin(task, run)
    time.sleep(orders.seconds)
    os.kill(os.getpid(), signal.SIGKILL)
    return nonce


class Kind(NamedTuple):
    """One of the tasks.

    Attributes:
        weight: how often it is launched.
        longest: the seconds it takes at most.
    """

    body: Callable[..., Any]
    mode: str
    weight: int
    longest: float
    options: Mapping[str, Any] = {}


KINDS: Final[Mapping[str, Kind]] = {
    "short": Kind(wait, "async_", 12, 0.3),
    "long": Kind(wait, "async_", 8, 3.0),
    "later": Kind(wait, "async_", 4, 0.1, {"eta_delta": 1.5}),
    "hasty": Kind(wait, "async_", 2, 1.0, {"timeout": 0.5}),
    "punctual": Kind(wait, "async_", 2, 0.1, {"eta_delta": 0.5, "overdue_time": 1.0}),
    "threaded": Kind(block, "thread", 6, 1.5),
    "blocking": Kind(block, "sync", 2, 0.2),
    "apart": Kind(block, "process", 2, 0.5),
    "deadly": Kind(die, "process", 1, 0.1, {"max_crashes": 2}),
}


def register(kapusta: Kapusta, *, children: bool = True) -> dict[str, Task[..., Any]]:
    """All kinds; those that run in child processes only if it may have some."""
    return {
        name: kapusta.register_task(
            kind.body,
            kind.mode,
            name=name,
            **{
                "timeout": None if kind.mode == "sync" else 300,
                "backoff": 0.2,
                "max_crashes": 6,
                **kind.options,
            },
        )
        for name, kind in KINDS.items()
        if children or kind.mode != "process"
    }
