"""What is measured: each workload once, for every contestant that can do it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.engines import Engine
from benchmarks.entries import Entry
from benchmarks.player import ContestantError, Player

LOOK: Final = 0.02
"""Seconds between two questions whether all bodies have ended. The end itself is told by the contestant's clock."""
PATIENCE: Final = 240.0
"""Seconds that a drain may take."""


@dataclass(frozen=True, kw_only=True)
class Sizes:
    """How large the workloads are."""

    one: int = 1_000
    many: int = 10_000
    small: int = 5_000
    large: int = 20_000
    fast: float = 2_000.0  # tasks a second: a contestant that drains fewer is not asked for the large drain
    picks: int = 120
    gap: float = 0.025
    named: int = 5_000
    names: tuple[int, int, int] = (1, 100, 1_000)
    burning: int = 2_000
    threads: int = 2_000
    processes: int = 500
    finished: int = 1_000_000
    future: int = 100_000
    unknown: int = 50_000
    idle: float = 60.0
    imports: int = 7


FULL: Final = Sizes()
QUICK: Final = Sizes(
    one=20,
    many=100,
    small=100,
    large=200,
    fast=0.0,
    picks=5,
    gap=0.005,
    named=100,
    names=(1, 10, 20),
    burning=10,
    threads=20,
    processes=5,
    finished=200,
    future=20,
    unknown=10,
    idle=0.5,
    imports=1,
)


class Arena:
    """Where one contestant does one workload.

    Attributes:
        sizes: how large the workload is.
        known: what the contestant has reached in this run so far.
    """

    def __init__(
        self, entry: Entry, engine: Engine, python: Path, sizes: Sizes, known: dict[str, list[float]]
    ) -> None:
        self.sizes, self.known = sizes, known
        self._entry, self._engine, self._python = entry, engine, python

    def player(self) -> Player:
        """Start a process of the contestant; the caller ends it."""
        return Player(self._entry, self._python)

    @contextmanager
    def database(self) -> Iterator[str]:
        """Provide a fresh database for the block."""
        url = self._engine.fresh()
        try:
            yield url
        finally:
            self._engine.drop(url)

    @contextmanager
    def opened(self, *, names: int = 0) -> Iterator[tuple[Player, str]]:
        """Provide a contestant that is connected to a fresh database, and the database."""
        with self.database() as url, self.player() as player:
            player.open(url, names=names)
            yield player, url
            player.ask("close")

    def calm(self, url: str) -> None:
        """See `Engine.calm`."""
        self._engine.calm(url)


Measured = dict[str, float]
Run = Callable[[Arena], Measured]


def launch_one(arena: Arena) -> Measured:
    """Launch one task after another, on a connection that has been used."""
    with arena.opened() as (player, url):
        player.ask("launch", count=arena.sizes.one // 10)
        arena.calm(url)
        seconds = player.ask("launch", count=arena.sizes.one)["seconds"]
    return {"launch one": arena.sizes.one / seconds}


def launch_many(arena: Arena) -> Measured:
    """Launch many tasks, up to 1,000 by each call."""
    with arena.opened() as (player, url):
        player.ask("launch_many", count=arena.sizes.many // 10)
        arena.calm(url)
        seconds = player.ask("launch_many", count=arena.sizes.many)["seconds"]
    return {"launch many": arena.sizes.many / seconds}


def drain_small(arena: Arena) -> Measured:
    """Start a worker on a queue of waiting tasks; the time ends when the last body has."""
    with arena.opened() as (player, url):
        return {"drain 5,000": _drain(arena, player, url, arena.sizes.small)}


def drain_large(arena: Arena) -> Measured:
    """Do the same with a longer queue, if the contestant is fast enough for it to end soon."""
    if min(arena.known.get("drain 5,000", [0.0])) < arena.sizes.fast:
        return {}
    with arena.opened() as (player, url):
        return {"drain 20,000": _drain(arena, player, url, arena.sizes.large)}


def names(arena: Arena) -> Measured:
    """Drain tasks of one name, and the same number of many names, which arrived in turns."""
    found = {}
    for said, number in zip(FULL.names, arena.sizes.names, strict=True):
        with arena.opened(names=number) as (player, url):
            found[f"names: {said:,}"] = _drain(arena, player, url, arena.sizes.named, names=number)
    return found


def in_threads(arena: Arena) -> Measured:
    """Drain tasks that run in threads."""
    with arena.opened() as (player, url):
        return {"thread": _drain(arena, player, url, arena.sizes.threads, kind="thread")}


def in_processes(arena: Arena) -> Measured:
    """Drain tasks that run in child processes, each of which appends a byte to a file."""
    with arena.opened() as (player, url):
        return {"process": _drain(arena, player, url, arena.sizes.processes, kind="process")}


def pick_up(arena: Arena) -> Measured:
    """Launch tasks one at a time in the process of an idle worker: from before the launch to the start of the body."""
    with arena.opened() as (player, _):
        player.ask("work")
        return _times("pick-up", arena, player, player)


def pick_up_between(arena: Arena) -> Measured:
    """Do the same with the worker in another process."""
    with arena.database() as url, arena.player() as launcher, arena.player() as worker:
        for player in (launcher, worker):
            player.open(url)
        worker.ask("work")
        found = _times("pick-up between", arena, launcher, worker)
        for player in (launcher, worker):
            player.ask("close")
        return found


def workers(arena: Arena) -> Measured:
    """Drain tasks that use 1 ms of CPU, with one worker process and with two."""
    found = {}
    for number in (1, 2):
        with arena.database() as url:
            players = [arena.player() for _ in range(number)]
            try:
                for player in players:
                    player.open(url)
                found[f"workers: {number}"] = _drain_together(
                    arena, players, url, arena.sizes.burning, "burn"
                )
                for player in players:
                    player.ask("close")
            finally:
                for player in players:
                    player.end()
    return found


@dataclass(frozen=True, kw_only=True)
class Workload:
    """One kind of measurement.

    Attributes:
        key: how the command line calls it, and what an entry must be able to do.
        run: does it once.
    """

    key: str
    needs: str
    run: Run


WORKLOADS: Final = (
    Workload(key="launch-one", needs="launch", run=launch_one),
    Workload(key="launch-many", needs="launch", run=launch_many),
    Workload(key="drain", needs="drain", run=drain_small),
    Workload(key="drain-large", needs="drain", run=drain_large),
    Workload(key="pick-up", needs="pick-up", run=pick_up),
    Workload(key="pick-up-between", needs="pick-up between", run=pick_up_between),
    Workload(key="names", needs="names", run=names),
    Workload(key="workers", needs="workers", run=workers),
    Workload(key="thread", needs="thread", run=in_threads),
    Workload(key="process", needs="process", run=in_processes),
)


def drain_on(arena: Arena, url: str) -> float:
    """Return the tasks a second of a small drain in a database that is there already."""
    with arena.player() as player:
        player.open(url)
        rate = _drain(arena, player, url, arena.sizes.small)
        player.ask("close")
    return rate


def _drain(
    arena: Arena, player: Player, url: str, count: int, *, kind: str = "noop", names: int = 0
) -> float:
    player.ask("launch_many", count=count, kind=kind, names=names)
    arena.calm(url)
    return _run_all([player], count)


def _drain_together(arena: Arena, players: list[Player], url: str, count: int, kind: str) -> float:
    players[0].ask("launch_many", count=count, kind=kind)
    arena.calm(url)
    return _run_all(players, count)


def _run_all(players: list[Player], count: int) -> float:
    """Start a worker in each process, wait for all bodies, and return the tasks a second."""
    for player in players:
        player.tell("work")
    start: float = min(player.hear()["at"] for player in players)
    deadline = time.monotonic() + PATIENCE
    while True:
        ran = [player.ask("ran") for player in players]
        if sum(each["ran"] for each in ran) >= count:
            break
        if time.monotonic() > deadline:
            entry = players[0].entry
            raise ContestantError(
                f"{entry.name} on {entry.engine} ran {ran} of {count} tasks in {PATIENCE} s"
            )
        time.sleep(LOOK)
    end: float = max(each["last"] for each in ran)
    for player in players:
        left = player.ask("rest")["unfinished"]
        if left and player is players[-1]:
            raise ContestantError(
                f"{player.entry.name} on {player.entry.engine} left {left} tasks unfinished"
            )
    return count / (end - start)


def _times(what: str, arena: Arena, launcher: Player, worker: Player) -> Measured:
    """Return percentiles of the time from a launch to the start of its body, in milliseconds."""
    launcher.ask("launch_apart", count=3, gap=0.2)  # the worker is up and its statements are prepared
    _wait_for_marks(worker, 3)
    launched = launcher.ask("launch_apart", count=arena.sizes.picks, gap=arena.sizes.gap)["launched"]
    marks = _wait_for_marks(worker, 3 + arena.sizes.picks)[3:]
    worker.ask("rest")
    times = sorted(1_000 * (start - launched[number]) for number, start in marks)
    return {f"{what} p50": _quantile(times, 0.5), f"{what} p99": _quantile(times, 0.99)}


def _wait_for_marks(worker: Player, count: int) -> list[tuple[int, float]]:
    deadline = time.monotonic() + PATIENCE
    while len(marks := worker.ask("marks")["marks"]) < count:
        if time.monotonic() > deadline:
            raise ContestantError(
                f"{worker.entry.name} started {len(marks)} of {count} tasks in {PATIENCE} s"
            )
        time.sleep(LOOK)
    return list(marks)


def _quantile(times: list[float], part: float) -> float:
    return times[min(len(times) - 1, int(part * len(times)))]
