"""Every bad input, as a table: how it comes about, which error it gets, and what the message must say."""

from __future__ import annotations

import asyncio
import math
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import kapusta
from kapusta import (
    ArgumentError,
    BackendNotFoundError,
    BaseCRUD,
    DuplicateTaskError,
    Kapusta,
    KapustaError,
    KapustaExecutionModeError,
    KapustaSyncTaskTimeoutError,
    KapustaValueError,
    MissingDriverError,
    NotImportableError,
    PayloadTooLargeError,
    ResultNotStoredError,
    StoreNotStartedError,
    StoreTooNewError,
    StoreUrlError,
    Task,
    TaskFailedError,
    TaskNotFoundError,
    TaskSignatureError,
    TaskStatus,
    UnknownOptionError,
    _errors,
)
from kapusta_sqlalchemy import AlchemyCRUD

BOTH: Final = ("memory", "sqlite")
ONCE: Final = ("memory",)
"""What is refused before a store is asked is refused on one store as on the other."""

LIMIT: Final = 1000


class Scene(NamedTuple):
    """A Kapusta with its store started, two tasks of it, and an empty folder."""

    kapusta: Kapusta
    crud: BaseCRUD
    pay: Task[Any, int]
    ring: Task[Any, None]
    folder: Path


def pay(amount: int = 0, note: str = "") -> int:
    """A plain function, at the top of a module."""
    return amount


async def ring() -> None:
    """A coroutine function, at the top of a module."""


class Row(NamedTuple):
    """One bad input.

    Attributes:
        about: the words of the issue, and which case of it.
        provoke: does it; awaited if it gives a coroutine.
        error: what is raised.
        words: what the message says: what, which, and what next.
        stores: on which stores.
        done: how many more tasks there are afterwards, all of them with their work done.
    """

    about: str
    provoke: Callable[[Scene], Any]
    error: type[KapustaError]
    words: tuple[str, ...]
    stores: tuple[str, ...] = ONCE
    done: int = 0


def durations() -> Iterator[Row]:
    """Negative, NaN and infinite, wherever a duration is taken."""
    wrong = [
        (-1, "is negative"),
        (math.nan, "is not a number"),
        (math.inf, "is infinite"),
        (1e300, "is too long"),
    ]
    for option in ("timeout", "eta_delta", "overdue_time", "overdue_time_delta", "backoff"):
        name = option.removesuffix("_delta") if option.startswith("overdue") else option
        for value, problem in wrong:
            given: dict[str, Any] = {"execution_mode": "thread", option: value}
            words = (f"{name}={value!r} {problem}", "Give ")
            yield Row(
                f"{option}={value} in update_params",
                lambda scene, given=given: scene.pay.launch(update_params=given),  # type: ignore[misc]  # bound now
                KapustaValueError,
                words,
                BOTH,
            )
            yield Row(
                f"{option}={value} at registration",
                lambda scene, given=given: scene.kapusta.task(name="new", **given)(pay),  # type: ignore[misc]  # bound now
                KapustaValueError,
                words,
            )
    for option in ("default_timeout", "default_overdue_time_delta", "default_backoff", "lease", "grace",
                   "max_tick_interval", "store_timeout"):  # fmt: skip
        for value, problem in wrong:
            yield Row(
                f"Kapusta({option}={value})",
                lambda scene, given={option: value}: Kapusta(scene.crud, **given),  # type: ignore[misc]  # bound now
                KapustaValueError,
                (f"={value!r} {problem}", "Give "),
            )


def modes() -> Iterator[Row]:
    """All modes that do not fit the function."""
    remedy = {
        True: "Leave execution_mode out, or define it with a plain `def`.",
        False: "Define it with `async def`",
    }
    wrong = [("ring", mode) for mode in ("sync", "thread", "process")] + [("pay", "async_")]
    for task, mode in wrong:
        function: Callable[..., Any] = ring if task == "ring" else pay
        words = (f"cannot run in mode '{mode}'", "it is a", remedy[task == "ring"])
        yield Row(
            f"mode {mode} for {task}() in update_params",
            lambda scene, task=task, mode=mode: getattr(scene, task).launch(
                update_params={"execution_mode": mode}
            ),  # type: ignore[misc]  # bound now
            KapustaExecutionModeError,
            words,
            BOTH,
        )
        yield Row(
            f"mode {mode} for {task}() at registration",
            lambda scene, function=function, mode=mode: scene.kapusta.register_task(
                function, mode, name="new"
            ),  # type: ignore[misc]  # bound now
            KapustaExecutionModeError,
            words,
        )


def nested() -> Callable[[], None]:
    """Make a function that no other process can import."""

    def inner() -> None:
        """Does nothing."""

    return inner


async def started(url: str) -> None:
    """Start a Kapusta on this URL."""
    async with Kapusta(url):
        pass


def elsewhere(scene: Scene, program: str) -> None:
    """Run a program; what it ends with is raised here."""
    ran = subprocess.run(
        [sys.executable, "-c", program],
        cwd=scene.folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    name, _, message = ran.stderr.strip().rpartition("\n")[2].partition(": ")
    raise _errors._root._remade(getattr(kapusta, name.rpartition(".")[2]), message)


NO_DRIVER = """
import asyncio, sys
sys.modules["aiosqlite"] = None
from kapusta import Kapusta
asyncio.run(Kapusta("sqlite+aiosqlite:///tasks.db").startup())
"""

UNGUARDED = textwrap.dedent(
    """
    import asyncio

    from kapusta import AlchemyCRUD, Kapusta

    kapusta = Kapusta(AlchemyCRUD("sqlite+aiosqlite:///unguarded.db"))


    @kapusta.task()
    def first(): ...


    @kapusta.task("process")
    def second(): ...


    async def main():
        await kapusta.startup()
        await first.launch()
        try:
            await (await second.launch()).result(timeout=30)
        finally:
            await kapusta.shutdown()


    asyncio.run(main())
    """
)


async def without_a_guard(scene: Scene) -> None:
    """A script without a ``__main__`` guard that uses ``process``; its own store is looked at afterwards."""
    script = scene.folder / "unguarded.py"
    script.write_text(UNGUARDED)
    await asyncio.to_thread(
        subprocess.run,
        [sys.executable, script.name],
        cwd=scene.folder,
        capture_output=True,
        timeout=60,
        check=False,
    )
    store = Kapusta(AlchemyCRUD(f"sqlite+aiosqlite:///{scene.folder / 'unguarded.db'}"))
    await store.crud.startup()
    try:
        tasks = await store.crud.find_tasks(kapusta_query())
        assert [(task.name, task.status) for task in tasks] == [
            ("unguarded.first", TaskStatus.success),
            ("unguarded.second", TaskStatus.error),
        ]
        await store.handle(tasks[1].id).result()
    finally:
        await store.shutdown()


def kapusta_query() -> Any:
    """All that is stored."""
    from kapusta.backend import TaskQuery

    return TaskQuery()


async def too_new(scene: Scene) -> None:
    """A store that a newer version has migrated."""
    import sqlite3
    from contextlib import closing

    url = f"sqlite+aiosqlite:///{scene.folder / 'newer.db'}"
    await started(url)
    with closing(sqlite3.connect(scene.folder / "newer.db")) as connection:
        connection.execute("UPDATE kapusta_store SET schema_version = 9, minimum_reader = 9")
        connection.commit()
    await started(url)


async def not_started(scene: Scene) -> None:
    """Launch on a store that is not started, of the same kind."""
    twin = Kapusta(scene.crud.twin())
    await twin.register_task(pay).launch(1)


async def unstorable(scene: Scene, function: Callable[[], object]) -> None:
    """Run a task whose result cannot be stored, and ask for it."""
    task = await scene.kapusta.register_task(function, name="unstorable").launch()
    await scene.kapusta.run_until_idle()
    assert await task.status() is TaskStatus.success
    assert await scene.kapusta.get_task_result(task) is None
    await task.result()


NAIVE = datetime(2026, 5, 17, 12)  # noqa: DTZ001 - that is the point
MISSING = ("Task 'pay' was not launched", "missing a required argument: 'amount'", "takes (amount")
SURPLUS = ("Task 'pay' was not launched", "unexpected keyword argument 'colour'", "The function takes (")
SYNC_TIMEOUT = (
    "Task ",
    "runs in mode 'sync'",
    "timeout=5",
    "Leave the timeout out, or choose execution_mode='thread'",
)
NEVER = ("so it could never run", "Make overdue_time longer")
PROMPT = ("another process could not import it", "Define it with `def` at the top of a module")


def required(amount: int) -> int:
    """One argument is needed."""
    return amount


TABLE: Final = [
    *durations(),
    *modes(),
    Row("a naive eta", lambda s: s.pay.with_options(eta=NAIVE).launch(), KapustaValueError,
        ("eta=datetime.datetime(2026, 5, 17, 12, 0) is naive", "Give an aware one"), BOTH),
    Row("a naive eta in update_params", lambda s: s.pay.launch(update_params={"eta": NAIVE}), KapustaValueError,
        ("is naive",), BOTH),
    Row("an eta past overdue_time", lambda s: s.pay.with_options(eta=datetime.max.replace(tzinfo=UTC), overdue_time=60).launch(),
        KapustaValueError, ("eta=", "past the deadline of task 'pay'", "Make overdue_time longer, or None"), BOTH),
    Row("eta_delta at overdue_time", lambda s: s.pay.launch(update_params={"eta_delta": 60, "overdue_time": 60}),
        KapustaValueError, NEVER, BOTH),
    Row("eta_delta past overdue_time", lambda s: s.pay.with_options(eta_delta=61, overdue_time=60), KapustaValueError, NEVER),
    Row("eta_delta past overdue_time at registration",
        lambda s: s.kapusta.task(name="new", eta_delta=timedelta(hours=2), overdue_time=3600)(pay), KapustaValueError, NEVER),
    Row("a mode that does not exist", lambda s: s.pay.launch(update_params={"execution_mode": "fork"}), KapustaValueError,
        ("execution_mode='fork' is no execution mode", "Choose one of: sync, async_, thread, process"), BOTH),
    Row("a timeout on sync", lambda s: s.pay.launch(update_params={"timeout": 5}), KapustaSyncTaskTimeoutError, SYNC_TIMEOUT, BOTH),
    Row("a timeout on sync at registration", lambda s: s.kapusta.task(name="new", timeout=5)(pay),
        KapustaSyncTaskTimeoutError, SYNC_TIMEOUT),
    Row("an unknown option in update_params", lambda s: s.pay.launch(update_params={"retries": 5}), UnknownOptionError,
        ("A launch of task 'pay' has no option 'retries'", "It takes: eta_delta, "), BOTH),
    Row("an unknown option in with_options", lambda s: s.pay.with_options(retries=5), UnknownOptionError,  # type: ignore[call-arg]  # the mistake
        ("no option 'retries'", "It takes: ")),
    Row("an unknown option at registration", lambda s: s.kapusta.task(retries=5)(pay), UnknownOptionError,  # type: ignore[call-arg]  # the mistake
        ("has no option 'retries'", "It takes: execution_mode, ")),
    Row("an option of the task in update_params", lambda s: s.pay.launch(update_params={"name": "x"}), UnknownOptionError,
        ("no option 'name'", "It takes: ")),
    Row("update_params that are none", lambda s: s.pay.launch(update_params=5), KapustaValueError,
        ("update_params=5 is no mapping", "Write {")),
    Row("two tasks of one name", lambda s: s.kapusta.register_task(ring, name="pay"), DuplicateTaskError,
        ("Two tasks go by the name 'pay'", "bad_input.pay (task 'pay', ", "bad_input.ring (task 'pay', ", "bad_input.py:", "with name=")),
    Row("two tasks of one name, by alias", lambda s: s.kapusta.register_task(ring, name="new", aliases=["pay"]), DuplicateTaskError,
        ("Two tasks go by the name 'pay'", "drop it from aliases=")),
    Row("a name that is none", lambda s: s.kapusta.register_task(pay, name=5), KapustaValueError,  # type: ignore[call-overload]  # the mistake
        ("name=5 is no name", "Give text")),
    Row("aliases that are one text", lambda s: s.kapusta.register_task(pay, name="new", aliases="old"), KapustaValueError,
        ("aliases='old' is no list of names", 'Write ["old_name"]')),
    Row("a lambda in process mode", lambda s: s.kapusta.register_task(lambda: None, "process", name="new"), NotImportableError,
        ("Task 'new' cannot run in mode 'process': it is a lambda", *PROMPT)),
    Row("a nested function in process mode", lambda s: s.kapusta.register_task(nested(), "process", name="new"), NotImportableError,
        ("Task 'new'", "it is not defined at the top of a module", *PROMPT)),
    Row("a lambda in process mode for one launch",
        lambda s: s.kapusta.register_task(lambda: None, name="new").launch(update_params={"execution_mode": "process"}),
        NotImportableError, ("Task 'new'", "it is a lambda", *PROMPT), BOTH),
    Row("a nested function in process mode for one launch",
        lambda s: s.kapusta.register_task(nested(), name="new").with_options(execution_mode="process"),
        NotImportableError, ("Task 'new'", "not defined at the top", *PROMPT)),
    Row("a function that cannot be launched", lambda s: s.kapusta.register_task(lambda update_params: None, name="new"),
        TaskSignatureError, ("Task 'new'", "'update_params', which launch() keeps for itself", "Rename the parameter")),
    Row("an argument that cannot be encoded", lambda s: s.pay.launch(note=object()), ArgumentError,
        ("argument 'note'", "an object of type object cannot be encoded", "Pass plain data"), BOTH),
    Row("an argument that does not fit its annotation", lambda s: s.pay.launch(amount="7"), ArgumentError,
        ("argument 'amount'", "'7' does not fit its annotation", "Pass what the annotation says"), BOTH),
    Row("an argument that would arrive changed",
        lambda s: s.kapusta.register_task(lambda x: None, name="new").launch({1}), ArgumentError,
        ("Task 'new' was not launched", "argument 'x': {1} would arrive as [1]", "Annotate the parameter"), BOTH),
    Row("a missing argument", lambda s: s.kapusta.register_task(required, name="pay2").launch(), ArgumentError,  # type: ignore[call-overload]  # the mistake
        ("Task 'pay2' was not launched", *MISSING[1:]), BOTH),
    Row("a surplus argument", lambda s: s.pay.launch(amount=1, colour="red"), ArgumentError, SURPLUS, BOTH),
    Row("a surplus argument to launch_now", lambda s: s.pay.launch_now(colour="red"), ArgumentError, SURPLUS, BOTH),
    Row("a surplus argument in one of many: none is launched",
        lambda s: s.pay.launch_many([{"amount": 1}, {"colour": "red"}]), ArgumentError, SURPLUS, BOTH),
    Row("a payload over the limit", lambda s: s.pay.launch(note="x" * LIMIT), PayloadTooLargeError,
        ("Task 'pay' was not launched", "1011 bytes, the limit is 1000", "or raise Kapusta(max_payload_bytes=...)"), BOTH),
    Row("a payload over the limit, of many: none is launched",
        lambda s: s.pay.launch_many([{"amount": 1}, {"note": "x" * LIMIT}]), PayloadTooLargeError, ("the limit is 1000",), BOTH),
    Row("a result that cannot be encoded", lambda s: unstorable(s, object), ResultNotStoredError,
        ("succeeded, but has no result", "an object of type object cannot be encoded", "Return something smaller or simpler"),
        BOTH, done=1),
    Row("a result over the limit", lambda s: unstorable(s, lambda: "x" * LIMIT), ResultNotStoredError,
        ("it takes 1002 bytes, max_payload_bytes is 1000", "Return something smaller"), BOTH, done=1),
    Row("an unknown task id: its status", lambda s: s.kapusta.handle(7).status(), TaskNotFoundError, ("id 7", "Was it deleted", "not committed yet"), BOTH),
    Row("an unknown task id: its result", lambda s: s.kapusta.handle(2**80).result(), TaskNotFoundError, (str(2**80),), BOTH),
    Row("an unknown task id: cancelling it", lambda s: s.kapusta.handle(-7).cancel(), TaskNotFoundError, ("id -7",), BOTH),
    Row("a broken URL", lambda s: Kapusta("tasks.db"), StoreUrlError, ("'tasks.db' names no kind of store", "begins with one of: ")),
    Row("a broken URL with a password", lambda s: Kapusta("mysql:/u:secret@host"), StoreUrlError, ("u:***@host",)),
    Row("a URL of no known kind", lambda s: Kapusta("redis://host"), BackendNotFoundError,
        ("No installed backend provides 'redis'. Installed: ", "memory://, ", "sqlite://", "or check the spelling")),
    Row("a URL that cannot be read", lambda s: started("sqlite://user@host:port/x"), StoreUrlError,
        ("cannot be read", "Write it like sqlite+aiosqlite:///")),
    Row("a URL into nowhere", lambda s: started("sqlite:////no/such/folder/tasks.db"), StoreUrlError,
        ("folder /no/such/folder, which does not exist", "Create the folder")),
    Row("a URL in memory that is none", lambda s: Kapusta("memory:///a b"), StoreUrlError, ("'memory:///a b'", "Write memory://")),
    Row(":memory:", lambda s: started("sqlite+aiosqlite:///:memory:"), StoreUrlError,
        ("is a database in memory", "Use memory:// for tasks that may be forgotten, or name a file")),
    Row("a store that is none", lambda s: Kapusta(42), KapustaValueError,  # type: ignore[arg-type]  # the mistake
        ("crud=42 is no BaseCRUD", "or a URL")),
    Row("a missing driver", lambda s: elsewhere(s, NO_DRIVER), MissingDriverError,
        ("sqlite+aiosqlite:///tasks.db", "needs 'aiosqlite'", "pip install kapusta-sqlalchemy")),
    Row("a store migrated by a newer version", too_new, StoreTooNewError,
        ("newer.db was migrated by a newer version: its schema is '9'", "Upgrade the packages here; nothing was changed")),
    Row("launching on a store that is not started", not_started, StoreNotStartedError,
        ("CRUD is not started", "Call `await kapusta.startup()` first"), BOTH),
    Row("a script without a __main__ guard that uses process", without_a_guard, TaskFailedError,
        ("('unguarded.second') ended as 'error'", "startup() was called while a child process imported 'unguarded'",
         'under `if __name__ == "__main__":`')),
]  # fmt: skip
