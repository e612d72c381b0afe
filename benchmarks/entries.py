"""Who takes part: each contestant, what it can do, and what it gives up or promises."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

ENGINES: Final = ("postgresql", "sqlite", "mariadb", "memory")

KAPUSTA: Final = "kapusta"
SLOTS: Final = 100
ALL: Final = frozenset({"launch", "drain"})
WORKS: Final = ALL | {"pick-up"}


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A contestant on one engine.

    Attributes:
        name: how it is called in tables.
        program: its module in `benchmarks.contestants`.
        requirements: its file in `benchmarks/requirements`, without the suffix.
        can: the workloads that it takes part in.
        loop: the event loop that it runs on.
        slots: bodies that its worker may run at once.
        role: a peer is compared with Kapusta; a floor shows what the driver alone can do; a variant is only shown.
        oldest: the oldest version of Python that it runs on.
        imports: the module that its users import; none for a floor.
        remark: what to know when comparing it.
    """

    name: str
    engine: str
    program: str
    requirements: str
    can: frozenset[str]
    loop: Literal["asyncio", "uvloop"] = "asyncio"
    slots: int = SLOTS
    role: Literal["kapusta", "peer", "floor", "variant"] = "peer"
    oldest: tuple[int, int] = (3, 11)
    imports: str = ""
    remark: str = ""


_KAPUSTA: Final = "Finished tasks stay with their results. A lease for each run, fenced writes, every outcome stored before its slot is free again."
_LASTS: Final = {
    "postgresql": "",
    "mariadb": "",
    "sqlite": " `synchronous=FULL`.",
    "memory": " Nothing outlives the process.",
}


def _kapusta(engine: str, *also: str, between: bool = True) -> Entry:
    can = WORKS | {"names", "thread", "process", "idle", *also}
    return Entry(
        name=KAPUSTA,
        engine=engine,
        program="kapusta",
        requirements="kapusta",
        can=can | {"pick-up between", "loaded"} if between else can,
        role="kapusta",
        imports="kapusta",
        remark=_KAPUSTA + _LASTS[engine],
    )


_PGQUEUER = (
    "Finished jobs leave the queue, and one row of a log remains; there are no results. Batches of 100 without a cap on"
    " concurrent tasks, so that more than 100 bodies may be under way; an outcome is written when 100 have gathered or"
    " after 0.1 s. Its own command runs on uvloop where that is installed."
)

ENTRIES: Final = (
    _kapusta("postgresql", "workers"),
    Entry(
        name="pgqueuer",
        engine="postgresql",
        program="pgqueuer",
        requirements="pgqueuer",
        can=WORKS | {"pick-up between", "names", "workers", "idle"},
        imports="pgqueuer",
        remark=_PGQUEUER,
    ),
    Entry(
        name="oban",
        engine="postgresql",
        program="oban",
        requirements="oban",
        can=WORKS | {"pick-up between", "workers", "idle"},
        oldest=(3, 12),
        imports="oban",
        remark="Finished jobs stay for a day. Jobs of one call are inserted one by one; its commercial edition has bulk"
        " inserts. Its own command runs on uvloop where that is installed.",
    ),
    Entry(
        name="procrastinate",
        engine="postgresql",
        program="procrastinate",
        requirements="procrastinate",
        can=WORKS | {"pick-up between", "idle"},
        imports="procrastinate",
        remark="Finished jobs stay, and each change of a job's state is also a row of events. Fetches and finishes job by"
        " job.",
    ),
    Entry(
        name="saq",
        engine="postgresql",
        program="saq",
        requirements="saq",
        can=WORKS | {"pick-up between", "idle"},
        imports="saq",
        remark="Finished jobs stay for ten minutes with their results. No call launches more than one; here 20 launches"
        " are under way at once.",
    ),
    Entry(
        name="asyncpg",
        engine="postgresql",
        program="bare_asyncpg",
        requirements="floors",
        can=ALL,
        role="floor",
        remark="Not a queue: one table, three statements, batches of 100 on one connection, no leases, no results.",
    ),
    Entry(
        name="kapusta, uvloop",
        engine="postgresql",
        program="kapusta",
        requirements="kapusta",
        can=WORKS | {"pick-up between"},
        loop="uvloop",
        role="variant",
    ),
    Entry(
        name="pgqueuer, uvloop",
        engine="postgresql",
        program="pgqueuer",
        requirements="pgqueuer",
        can=WORKS | {"pick-up between"},
        loop="uvloop",
        role="variant",
    ),
    Entry(
        name="pgqueuer, capped",
        engine="postgresql",
        program="pgqueuer_capped",
        requirements="pgqueuer",
        can=frozenset({"drain"}),
        role="variant",
        imports="pgqueuer",
        remark="With `max_concurrent_tasks=100`, as many bodies at once as the others have, and batches of 50, the largest"
        " that it allows then.",
    ),
    _kapusta("sqlite"),
    Entry(
        name="huey",
        engine="sqlite",
        program="huey",
        requirements="huey",
        can=WORKS | {"pick-up between", "idle"},
        imports="huey",
        remark="Its default durability is SQLite's own: `FULL`, unless SQLite was built otherwise. A task leaves the queue"
        " when it starts: a worker that is killed loses it. No call launches more than one. Its threads poll, at most"
        " every ten seconds.",
    ),
    Entry(
        name="huey, no fsync",
        engine="sqlite",
        program="huey_without_fsync",
        requirements="huey",
        can=ALL,
        role="variant",
        imports="huey",
        remark="With `fsync=False`: a machine that loses power may lose tasks that were launched, or the file.",
    ),
    Entry(
        name="huey, 1 thread",
        engine="sqlite",
        program="huey",
        requirements="huey",
        can=frozenset({"drain"}),
        slots=1,
        role="variant",
        imports="huey",
        remark="Bodies that do nothing are run fastest by a single thread, and those that wait, one at a time.",
    ),
    Entry(
        name="sqlite3",
        engine="sqlite",
        program="bare_sqlite3",
        requirements="floors",
        can=ALL,
        role="floor",
        remark="Not a queue: one table, three statements, batches of 100, `synchronous=FULL`, no leases, no results.",
    ),
    _kapusta("mariadb"),
    Entry(
        name="aiomysql",
        engine="mariadb",
        program="bare_aiomysql",
        requirements="floors",
        can=ALL,
        role="floor",
        remark="Not a queue: one table, four statements, batches of 100 on one connection, no leases, no results.",
    ),
    _kapusta("memory", between=False),
    Entry(
        name="pgqueuer",
        engine="memory",
        program="pgqueuer",
        requirements="pgqueuer",
        can=WORKS | {"names", "idle"},
        imports="pgqueuer",
        remark=_PGQUEUER,
    ),
)
