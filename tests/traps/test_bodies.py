"""What a body does to itself, and what it leaves for the next one."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import io
import logging
import re
import time
import weakref
from collections.abc import Callable

import pytest

from kapusta import TaskFailedError, TaskStatus
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.eventually import eventually

tenant: contextvars.ContextVar[str] = contextvars.ContextVar("tenant", default="nobody")


def enter() -> str:
    """Say who was there, and stay."""
    before = tenant.get()
    tenant.set("somebody")
    return before


async def enter_async() -> str:
    """The same on the loop."""
    return enter()


@pytest.mark.parametrize(("mode", "body"), [("async_", enter_async), ("sync", enter), ("thread", enter)])
async def test_what_a_body_sets_in_its_context_is_gone_with_it(
    mode: str, body: Callable[[], object], in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A tenant or a request's number that one task has set is never the next one's, nor its application's."""
    kapusta = make_kapusta(in_memory(), max_concurrent_tasks=1, max_threads=1)
    task = kapusta.register_task(body, mode)
    tenant.set("the application")
    await kapusta.startup()

    seen = [await (await task.launch()).result(timeout=20) for _ in range(3)]

    assert seen == ["the application"] * 3
    assert tenant.get() == "the application"


async def test_a_cancellation_of_the_bodys_own_is_an_error(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A body that awaits what somebody has cancelled is no body that was stopped: it failed, and the worker goes on."""
    kapusta = make_kapusta(in_memory())

    @kapusta.task()
    async def awaits_the_cancelled() -> None:
        other = asyncio.ensure_future(asyncio.Event().wait())
        other.cancel()
        await other

    after = kapusta.register_task(lambda: "alive", name="after")
    await kapusta.startup()
    handle = await awaits_the_cancelled.launch()
    with pytest.raises(TaskFailedError, match="CancelledError") as failed:
        await handle.result(timeout=20)

    assert failed.value.status is TaskStatus.error
    assert await (await after.launch()).result(timeout=20) == "alive"


class Luggage:
    """Something large that a body works on."""


@pytest.mark.parametrize("mode", ["sync", "thread"])
async def test_nothing_of_a_body_is_kept_after_its_end(
    mode: str, in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A failure is stored as text: no traceback keeps the frames of the body, and all that they hold.

    A handler that keeps records keeps their exceptions; this one formats them, as most do.
    """
    logger, said = logging.Logger("the application's"), io.StringIO()  # noqa: LOG001 - one that nobody else has
    logger.addHandler(logging.StreamHandler(said))
    kapusta = make_kapusta(in_memory(), logger=logger)
    carried: list[weakref.ref[Luggage]] = []

    def carry() -> None:
        luggage = Luggage()
        carried.append(weakref.ref(luggage))
        raise RuntimeError(f"too heavy: {id(luggage)}")

    task = kapusta.register_task(carry, mode, name="carry")
    await kapusta.startup()
    handles = await task.launch_many({} for _ in range(3))
    for handle in handles:
        with pytest.raises(TaskFailedError, match="too heavy"):
            await handle.result(timeout=20)

    def are_gone() -> bool:
        gc.collect()
        return not any(luggage() for luggage in carried)

    assert said.getvalue().count("RuntimeError: too heavy") >= 3
    await eventually(are_gone, "the frames of the bodies are gone")


async def test_a_body_that_blocks_the_loop_for_long_is_named(
    in_memory: OpenStore, make_kapusta: MakeKapusta, caplog: pytest.LogCaptureFixture
) -> None:
    """Everything else in the process has stood still meanwhile: the log says for whom, how long, and what to do."""
    kapusta = make_kapusta(in_memory())
    long = kapusta.register_task(lambda: time.sleep(1.05), name="long")
    short = kapusta.register_task(lambda: None, name="short")
    await kapusta.startup()

    with caplog.at_level(logging.WARNING, logger="kapusta"):
        for task in (long, short):
            await (await task.launch()).result(timeout=20)

    [line] = [message for message in caplog.messages if "blocked the event loop" in message]
    assert re.search(
        r"'long' blocked the event loop for \d+\.\d s; execution_mode='thread' or 'process'", line
    )
