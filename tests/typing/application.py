"""A program as an application's author writes it; never run, only checked with `mypy --strict`."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import assert_type

from kapusta import Kapusta
from kapusta_memory import MemoryCRUD
from kapusta_sqlalchemy import AlchemyCRUD

kapusta = Kapusta(
    crud=AlchemyCRUD("sqlite+aiosqlite:///tasks.db"),
    logger=logging.getLogger("kapusta"),
    max_tick_interval=60 * 5,
    default_overdue_time_delta=None,
    default_max_retry_attempts=0,
    default_timeout=60,
)
by_url = Kapusta(crud="memory://")
in_memory = Kapusta(crud=MemoryCRUD())


@kapusta.task(max_retry_attempts=3, overdue_time=timedelta(hours=1))
async def send_invoice(order_id: int, *, copy_to: str | None = None) -> str:
    """Return the invoice's text."""
    return f"{order_id} {copy_to}"


@kapusta.task()
def count_orders() -> int:
    """Return how many there are."""
    return 1


async def main() -> None:
    """Launch both, and use their results as what they are."""
    async with kapusta:
        invoice = await send_invoice.launch(7, copy_to="a@example.org")
        assert_type(await invoice.result(timeout=30), str)

        orders = await count_orders.launch_now()
        assert_type(await orders.result(), int)

        await send_invoice.launch(8, update_params={"max_retry_attempts": 1})
        await send_invoice.launch()  # type: ignore[call-overload]  # the order is missing, and mypy says so
    assert_type(count_orders(), int)


asyncio.run(main())
