"""A program as an application's author writes it; never run, only checked with `mypy --strict`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from kapusta import AlchemyCRUD as ByName  # the type checker knows what it makes, and not with which options
from kapusta import (
    Backoff,
    BaseCRUD,
    Kapusta,
    OnCrash,
    PickleCodec,
    Seconds,
    Task,
    TaskExecutionMode,
    TaskHandle,
    TaskId,
    TaskStatus,
)
from kapusta import MemoryCRUD as MemoryByName
from kapusta.crud import AlchemyCRUD as ByOldName
from kapusta_memory import MemoryCRUD
from kapusta_sqlalchemy import AlchemyCRUD

# --- making one -------------------------------------------------------------------------------------

kapusta = Kapusta(
    crud=AlchemyCRUD("sqlite+aiosqlite:///tasks.db"),
    logger=logging.getLogger("kapusta"),
    max_tick_interval=60 * 5,
    default_overdue_time_delta=None,
    default_max_retry_attempts=0,
    default_timeout=60,
)
by_url = Kapusta("memory://")
by_name = Kapusta(crud=ByName("sqlite+aiosqlite:///tasks.db"))
assert_type(
    (ByName("sqlite:///a"), ByOldName("sqlite:///a"), MemoryByName()), tuple[BaseCRUD, BaseCRUD, BaseCRUD]
)
assert_type(Backoff(initial=2, maximum=60.5, factor=3).initial, timedelta)
assert_type(Backoff(initial=timedelta(seconds=1), maximum=60, jitter=False).maximum, timedelta)
on_an_engine = Kapusta(crud=AlchemyCRUD(create_async_engine("sqlite+aiosqlite:///tasks.db"), migrate=False))
to_the_last_option = Kapusta(
    MemoryCRUD(),
    default_overdue_time_delta=timedelta(hours=1),
    default_timeout=timedelta(minutes=1),
    default_backoff=Backoff(
        initial=timedelta(seconds=1), maximum=timedelta(minutes=5), factor=2.0, jitter=True
    ),
    default_on_crash=OnCrash.hold,
    default_max_crashes=None,
    max_concurrent_tasks=100,
    max_threads=10,
    max_processes=2,
    lease=timedelta(seconds=30),
    grace=10.0,
    max_payload_bytes=1 << 20,
    store_timeout=10,
    process_environment={"LANG": "C"},
    codec=PickleCodec(secret=["the one that signs", b"the one that was there before"]),
)
assert_type(kapusta.crud, BaseCRUD)
assert_type(kapusta.logger, logging.Logger)


# --- registering tasks ------------------------------------------------------------------------------


@dataclass
class Invoice:
    """What a task makes."""

    order_id: int
    total: float


@kapusta.task(max_retry_attempts=3, overdue_time=timedelta(hours=1))
async def send_invoice(order_id: int, *, copy_to: str | None = None) -> Invoice:
    """Send it."""
    return Invoice(order_id, 1.5 if copy_to else 0)


@kapusta.task()
def count_orders() -> int:
    """Count them."""
    return 1


@kapusta.task(
    "thread",
    name="shop.resize",
    aliases=["shop.shrink"],
    eta_delta=5,
    overdue_time_delta=timedelta(minutes=5),
    timeout=30.5,
    backoff=10,
    on_crash="hold",
    max_crashes=5,
)
def resize(path: str, /, *sizes: int, **options: bool) -> list[str]:
    """Make small ones."""
    return [f"{path}-{size}" for size in sizes if options]


@kapusta.task(execution_mode=TaskExecutionMode.process, timeout=None, max_retry_attempts=None)
def crunch(numbers: list[float]) -> None:
    """Crunch them."""


def plain(text: str) -> bytes:
    """Not a task by itself."""
    return text.encode()


registered = kapusta.register_task(plain, "process", eta_delta=timedelta(seconds=1), backoff=None)
registered_async = kapusta.register_task(send_invoice.func)

assert_type(registered("x"), bytes)
assert_type(registered.name, str)
assert_type(registered.execution_mode, TaskExecutionMode)
assert_type(registered.eta_delta, timedelta | None)
assert_type(registered.overdue_time_delta, timedelta | None)
assert_type(registered.max_retry_attempts, int)
assert_type(registered.timeout, float)
any_task: Task[[str], bytes] = registered
any_function: Callable[[int], Any] = registered_async.func  # what a task was made of can be had back


@kapusta.task()
async def book(order_id: int) -> str:
    """Book it, and say so in one transaction."""
    async with AsyncSession(create_async_engine("sqlite+aiosqlite:///shop.db")) as session, session.begin():
        await kapusta.finish_within(session, f"booked {order_id}")
        await kapusta.finish_within(session)
        assert_type(
            await send_invoice.with_options(transaction=session).launch(order_id), TaskHandle[Invoice]
        )
    return ""


# --- launching --------------------------------------------------------------------------------------


async def launching() -> None:
    """Every way to launch, and what comes of each."""
    assert_type(count_orders(), int)
    coroutine: Coroutine[Any, Any, Invoice] = send_invoice(7)
    assert_type(await coroutine, Invoice)
    assert_type(resize("a", 1, 2, fast=True), list[str])

    assert_type(await send_invoice.launch(7, copy_to="a@example.org"), TaskHandle[Invoice])
    assert_type(await send_invoice.launch(order_id=7), TaskHandle[Invoice])
    assert_type(await count_orders.launch_now(), TaskHandle[int])
    assert_type(await resize.launch("a", 1, 2, fast=True), TaskHandle[list[str]])
    assert_type(await crunch.launch([1.5]), TaskHandle[None])
    assert_type(await any_task.launch("x"), TaskHandle[bytes])
    assert_type(await send_invoice.launch(8, update_params={"max_retry_attempts": 1}), TaskHandle[Invoice])
    assert_type(await send_invoice.launch_many([{"order_id": 7}, {"order_id": 8}]), list[TaskHandle[Invoice]])

    later = resize.with_options(
        execution_mode="process",
        eta=datetime.now(UTC) + timedelta(hours=3),
        eta_delta=None,
        overdue_time=timedelta(hours=4),
        max_retry_attempts=5,
        timeout=0,
        backoff=Backoff(jitter=False),
        on_crash=OnCrash.retry,
        max_crashes=None,
    )
    assert_type(await later.launch("a", 1), TaskHandle[list[str]])
    assert_type(later("a", 1), list[str])
    assert_type(await send_invoice.with_options(timeout=5)(7), Invoice)


# --- asking -----------------------------------------------------------------------------------------


async def asking(handle: TaskHandle[Invoice], task_id: TaskId, patience: Seconds) -> None:
    """All that can be asked of a task."""
    assert_type(await handle.result(), Invoice)
    assert_type(await handle.result(timeout=patience), Invoice)
    assert_type((await handle.result(timeout=timedelta(minutes=1))).total, float)
    assert_type(await handle.status(), TaskStatus)
    assert_type((await handle.status()).is_final, bool)
    assert_type(await handle.cancel(), bool)
    assert_type(await handle.retry(), bool)
    number: int = handle
    ids: dict[TaskId, str] = {handle: "it is an id"}

    assert_type(kapusta.handle(number), TaskHandle[Any])
    assert_type(await kapusta.get_task_status(task_id), TaskStatus | None)
    assert_type(await kapusta.get_task_result(next(iter(ids))), Any)


# --- running ----------------------------------------------------------------------------------------


async def main() -> None:
    """Every way to start and to stop."""
    async with kapusta as entered:
        assert_type(entered, Kapusta)
        await launching()
        await asking(await send_invoice.launch(7), 7, 1.5)
        kapusta.stop_listening_task()
        kapusta.create_listening_task()
        await kapusta.run_until_idle()
    await by_url.crud.startup()
    await by_url.startup()
    await asyncio.wait_for(on_an_engine.listening(), 5)
    await by_url.shutdown()


asyncio.run(main())
