"""One scene for each event about a task: how a worker that runs comes to log it."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from kapusta import Kapusta, TaskStatus
from kapusta.backend import Change, Guard, StoreUnavailableError
from kapusta.testing import ManualClock
from kapusta_sqlalchemy import AlchemyCRUD
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.eventually import eventually
from tests.worker.scripted import ScriptedCRUD
from tests.worker.stored import claimed_by_the_dead

LEASE: Final = 30


@dataclass
class Scene:
    """A worker on a store in memory that errs when the scene says so, and the records that it writes."""

    store: ScriptedCRUD
    kapusta: Kapusta
    clock: ManualClock
    open_store: OpenStore
    make_kapusta: MakeKapusta
    sqlite_url: str
    monkeypatch: pytest.MonkeyPatch
    caplog: pytest.LogCaptureFixture
    let_go: threading.Event = field(default_factory=threading.Event)

    async def run(self, function: Callable[..., Any], mode: str | None = None, **options: Any) -> None:
        """Launch one task of this function, and let it run."""
        task = self.kapusta.register_task(function, mode, name="task", **options)  # type: ignore[call-overload]
        await self.kapusta.startup()
        await task.launch()
        await self.clock.settle()

    async def sleep(self) -> None:
        """Take an hour; the body of many scenes."""
        await self.clock.sleep(3600)

    def records(self, word: str) -> list[logging.LogRecord]:
        """Return the records of this event."""
        return [record for record in self.caplog.records if vars(record).get("event") == word]


def fail() -> None:
    """Raise; the body of some scenes."""
    raise ZeroDivisionError("what the body raised")


async def succeed(scene: Scene) -> None:
    """A function returns."""
    await scene.run(lambda: 1)


async def fail_for_good(scene: Scene) -> None:
    """A function raises, and has no retry."""
    await scene.run(fail)


async def fail_and_retry(scene: Scene) -> None:
    """A function raises, and has a retry."""
    await scene.run(fail, max_retry_attempts=1)


async def take_too_long(scene: Scene) -> None:
    """A function exceeds its timeout."""
    await scene.run(scene.sleep, timeout=5)
    await scene.clock.advance(seconds=6)


async def meet_another_mode(scene: Scene) -> None:
    """A task was launched in a mode that its function does not have here."""
    other = scene.make_kapusta(scene.open_store(scene.clock))
    await other.crud.startup()
    await other.register_task(scene.sleep, name="task").launch()
    scene.kapusta.register_task(lambda: 1, name="task")
    await scene.kapusta.startup()
    await scene.clock.settle()


async def shut_down(scene: Scene) -> None:
    """A shutdown stops a body."""
    await scene.run(scene.sleep, timeout=None)
    await scene.kapusta.shutdown()


async def shut_down_to_hold(scene: Scene) -> None:
    """A shutdown stops a body that must not run twice."""
    await scene.run(scene.sleep, timeout=None, on_crash="hold")
    await scene.kapusta.shutdown()


async def shut_down_a_thread(scene: Scene) -> None:
    """A shutdown leaves a body that cannot be stopped."""
    begun = threading.Event()

    def wait() -> None:
        begun.set()
        scene.let_go.wait(30)

    scene.monkeypatch.setattr("kapusta.testing.clock.PATIENCE", 0.05)
    task = scene.kapusta.register_task(wait, "thread", name="task", timeout=None)
    await scene.kapusta.startup()
    await task.launch()
    await eventually(begun.is_set, "the body has begun")
    await scene.kapusta.shutdown()


async def lose_the_reply_to_a_claim(scene: Scene) -> None:
    """A claim is carried out, and its reply is lost."""
    task = scene.kapusta.register_task(lambda: 1, name="task")
    await scene.store.startup()
    await task.launch()
    scene.store.script.lose_replies = ["claim_tasks"]
    await scene.kapusta.startup()
    await scene.clock.advance(seconds=1)


async def lose_the_reply_to_an_outcome(scene: Scene) -> None:
    """An outcome is stored, and the reply is lost."""
    scene.store.script.lose_replies = ["change_tasks"]
    await scene.run(lambda: 1)
    await scene.clock.advance(seconds=1)


async def cancel(scene: Scene) -> None:
    """A person requests that a running task is cancelled."""
    task = scene.kapusta.register_task(scene.sleep, name="task", timeout=None)
    await scene.kapusta.startup()
    handle = await task.launch()
    await scene.clock.settle()
    request = Change(id=int(handle), run=1, guard=Guard.running, cancel_requested=True)
    await scene.store.change_tasks([request])
    await scene.clock.advance(seconds=LEASE)


async def come_too_late(scene: Scene) -> None:
    """The deadline of a task passes before a worker is there."""
    task = scene.kapusta.register_task(lambda: 1, name="task", overdue_time=10)
    await scene.store.startup()
    await task.launch()
    await scene.clock.advance(seconds=11)
    await scene.kapusta.startup()
    await scene.clock.settle()


async def lose_a_worker(scene: Scene) -> None:
    """The worker of a task dies."""
    task = scene.kapusta.register_task(lambda: 1, name="task")
    await scene.store.startup()
    await task.launch()
    await claimed_by_the_dead(scene.store, "task", lease=LEASE)
    await scene.kapusta.startup()
    await scene.clock.advance(seconds=3 * LEASE)


async def return_what_cannot_be_stored(scene: Scene) -> None:
    """A function returns what JSON cannot hold."""
    await scene.run(object)


async def lose_the_claim(scene: Scene) -> None:
    """Another worker has rescued a task, by a clock that is ahead, while its body ran."""
    ahead = ManualClock()
    ahead.shift(hours=1)
    rescuer = scene.open_store(ahead)
    await rescuer.startup()

    def rescue(operation: str, asked: Any) -> None:
        if operation == "change_tasks" and asked[0].status is TaskStatus.success:
            scene.store.script.before = lambda operation, asked: None
            change = Change(id=asked[0].id, run=asked[0].run, guard=Guard.expired, status=TaskStatus.pending)
            rescues.append(asyncio.ensure_future(rescuer.change_tasks([change])))
            raise StoreUnavailableError(operation=operation, problem="another worker is faster")

    rescues: list[asyncio.Future[Any]] = []
    scene.store.script.before = rescue
    scene.store.script.down = {"find_tasks"}
    await scene.run(lambda: 1)
    await scene.clock.advance(seconds=1)
    assert len(rescues) == 1


async def lose_the_store(scene: Scene) -> None:
    """The store is away for longer than a lease."""
    await scene.run(scene.sleep, timeout=None)
    scene.store.script.down = {"*"}
    await scene.clock.advance(seconds=LEASE)
    scene.store.script.down = set()


async def lose_the_store_for_good(scene: Scene) -> None:
    """The store is away when an outcome is there, and until the worker is shut down."""
    scene.store.script.down = {"change_tasks"}
    await scene.run(lambda: 1)
    await scene.kapusta.shutdown()


async def refuse_the_outcome(scene: Scene) -> None:
    """The store has an error of its own for an outcome."""

    def refuse(operation: str, asked: Any) -> None:
        if operation == "change_tasks":
            raise ValueError("too much for me")

    scene.store.script.before = refuse
    await scene.run(lambda: 1)


async def cancel_myself(scene: Scene) -> None:
    """A body cancels the asyncio task that it runs in."""

    async def body() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.cancel()
        await asyncio.sleep(0)

    await scene.run(body)


async def trip_over_a_filter(scene: Scene) -> None:
    """A filter of the application's fails at the record of the start."""

    def trip(record: logging.LogRecord) -> bool:
        if vars(record)["event"] == "task_started":
            raise ZeroDivisionError("a slip in the filter")
        return True

    logger = logging.getLogger("kapusta")
    logger.addFilter(trip)
    try:
        await scene.run(lambda: 1)
    finally:
        logger.removeFilter(trip)


async def read_a_damaged_row(scene: Scene) -> None:
    """A row has been written into by hand."""
    kapusta = scene.make_kapusta(AlchemyCRUD(scene.sqlite_url, clock=scene.clock))
    task = kapusta.register_task(lambda: 1, name="task")
    await kapusta.crud.startup()
    handle = await task.launch()
    await claimed_by_the_dead(kapusta.crud, "task", lease=LEASE)
    await write(
        create_async_engine(scene.sqlite_url), f"UPDATE kapusta_task SET mode='?' WHERE id={int(handle)}"
    )
    await kapusta.startup()
    await scene.clock.advance(seconds=3 * LEASE)


async def write(engine: AsyncEngine, statement: str) -> None:
    """Carry out one statement."""
    async with engine.begin() as connection:
        await connection.execute(text(statement))
    await engine.dispose()


async def block_the_loop(scene: Scene) -> None:
    """A body in mode `sync` takes longer than is said to be long."""
    scene.monkeypatch.setattr("kapusta._executors._sync.LONG", timedelta(seconds=-1))
    await scene.run(lambda: 1, "sync")


async def lose_sight_of_a_transaction(scene: Scene) -> None:
    """The store is away when a body's transaction, in which its outcome was, is over."""
    kapusta = scene.make_kapusta(AlchemyCRUD(scene.sqlite_url, clock=scene.clock))
    engine = create_async_engine(scene.sqlite_url)

    async def no_answer(query: object) -> object:
        raise StoreUnavailableError(operation="find_tasks", problem="the test has taken it down")

    async def body() -> None:
        async with engine.begin() as connection:
            await kapusta.finish_within(connection)
            scene.monkeypatch.setattr(kapusta.crud, "find_tasks", no_answer)

    task = kapusta.register_task(body, name="task")
    await kapusta.startup()
    await task.launch()
    await eventually(lambda: scene.records("task_lease_kept"), "it is logged")
    scene.monkeypatch.undo()
    await engine.dispose()


SCENES: Final[dict[str, Callable[[Scene], Awaitable[None]]]] = {
    "task_started": succeed,
    "task_succeeded": succeed,
    "task_failed": fail_for_good,
    "task_timed_out": take_too_long,
    "task_retried": fail_and_retry,
    "task_crashed": meet_another_mode,
    "task_interrupted": shut_down,
    "task_released": lose_the_reply_to_a_claim,
    "task_held": shut_down_to_hold,
    "task_cancelled": cancel,
    "task_overdue": come_too_late,
    "task_rescued": lose_a_worker,
    "task_already_settled": lose_the_reply_to_an_outcome,
    "task_result_problem": return_what_cannot_be_stored,
    "task_refused": lose_the_claim,
    "task_lease_expired": lose_the_store,
    "task_lease_lost": lose_the_store,
    "task_lease_kept": lose_sight_of_a_transaction,
    "task_grace_passed": shut_down,
    "task_abandoned": shut_down_a_thread,
    "task_dropped": cancel_myself,
    "task_unsettled": lose_the_store_for_good,
    "task_unstorable": refuse_the_outcome,
    "task_broken": trip_over_a_filter,
    "task_unreadable": read_a_damaged_row,
    "task_blocked_loop": block_the_loop,
}
