"""What a type checker refuses; an ignore that nothing needs is an error, so each line here must be wrong."""

from __future__ import annotations

from datetime import timedelta
from typing import assert_type

from kapusta import AlchemyCrud as Misspelt  # type: ignore[attr-defined]  # no such name
from kapusta import Backoff, Kapusta, TaskHandle

kapusta = Kapusta(
    "memory://",
    default_timeout="60",  # type: ignore[arg-type]  # a duration is no text
)
Kapusta()  # type: ignore[call-arg]  # a store is needed
Kapusta("memory://", None, 300, None, 0, 60, 5)  # type: ignore[call-arg]  # the rest by keyword only
Kapusta("memory://", retries=5)  # type: ignore[call-arg]  # no such option
Backoff(initial=timedelta(1), growth=2)  # type: ignore[call-arg]  # no such field
Misspelt("memory://")
Backoff(initial="2")  # type: ignore[arg-type]  # a duration is no text
Backoff(timedelta(1))  # type: ignore[call-arg]  # by keyword only


@kapusta.task()
async def send_invoice(order_id: int, *, copy_to: str | None = None) -> str:
    """Send it."""
    return f"{order_id} {copy_to}"


@kapusta.task()
def count_orders() -> int:
    """Count them."""
    return 1


kapusta.task(retries=5)  # type: ignore[call-arg]  # no such option
kapusta.task(timeout="5")  # type: ignore[arg-type]  # a duration is no text
kapusta.task(eta=timedelta(hours=1))  # type: ignore[call-arg]  # a moment belongs to a launch
kapusta.register_task(5)  # type: ignore[call-overload]  # no function
kapusta.register_task(count_orders.func, aliases=5)  # type: ignore[call-overload]  # no names
count_orders.timeout = 5  # type: ignore[misc]  # a task is immutable


async def launching(handle: TaskHandle[int]) -> None:
    """Wrong arguments, wrong options, wrong results."""
    await send_invoice.launch()  # type: ignore[call-overload]  # the order is missing
    await send_invoice.launch("7")  # type: ignore[call-overload]  # the order is a number
    await send_invoice.launch(7, "a@example.org")  # type: ignore[call-overload]  # by keyword only
    await send_invoice.launch(7, copy=1)  # type: ignore[call-overload]  # no such parameter
    await send_invoice.launch(7, update_params=5)  # type: ignore[call-overload]  # no options
    await send_invoice.launch_now()  # type: ignore[call-arg]  # the order is missing
    await send_invoice.launch_now(7, update_params={})  # type: ignore[call-arg]  # with_options() does that
    await count_orders.launch(1)  # type: ignore[call-overload]  # it takes nothing
    await send_invoice.launch_many([7])  # type: ignore[list-item]  # keyword arguments are a mapping
    send_invoice("7")  # type: ignore[arg-type, unused-coroutine]  # called directly, it is as strict

    send_invoice.with_options(name="x")  # type: ignore[call-arg]  # a task is named once
    send_invoice.with_options(priority=5)  # type: ignore[call-arg]  # no such option
    send_invoice.with_options(max_retry_attempts="3")  # type: ignore[arg-type]  # a number
    send_invoice.with_options(eta=timedelta(hours=1))  # type: ignore[arg-type]  # a moment, not a delay

    text: str = await handle.result()  # type: ignore[assignment]  # the task gives an int
    await handle.result(timeout="5")  # type: ignore[arg-type]  # a duration is no text
    await kapusta.handle("7")  # type: ignore[arg-type, misc]  # an id is a number, and a handle is not awaited
    assert_type(await (await send_invoice.launch(7)).result(), int)  # type: ignore[assert-type]  # it is a str
    assert_type(text, str)


@kapusta.task  # type: ignore[arg-type]  # the parentheses are missing
def forgotten() -> None:
    """The decorator was not called."""
