"""A store that is started on one event loop, and used on another."""

from __future__ import annotations

import asyncio

import pytest

from kapusta import Kapusta, StoreNotStartedError
from kapusta.backend import BaseCRUD
from kapusta_memory import MemoryCRUD
from kapusta_sqlalchemy import AlchemyCRUD


@pytest.fixture(params=["memory", "url", "postgres_url", "mysql_url"])
def anywhere(request: pytest.FixtureRequest) -> BaseCRUD:
    """An empty database of each kind; and the memory that stands for one in a unit test, which must say the same."""
    return MemoryCRUD() if request.param == "memory" else AlchemyCRUD(request.getfixturevalue(request.param))


async def test_a_launch_from_another_event_loop_is_refused_and_harms_nobody(anywhere: BaseCRUD) -> None:
    """As from a body in a thread, by `asyncio.run`: it is told how to hand the launch over, and this loop goes on."""
    kapusta = Kapusta(anywhere)
    child = kapusta.register_task(lambda: "ran", name="child")

    def launch_here() -> None:
        asyncio.run(child.launch())

    def hand_over(loop: asyncio.AbstractEventLoop) -> int:
        return int(asyncio.run_coroutine_threadsafe(child.launch(), loop).result(20))

    async with kapusta:
        for _ in range(8):
            with pytest.raises(StoreNotStartedError, match="run_coroutine_threadsafe") as refused:
                await asyncio.to_thread(launch_here)
            assert refused.value.elsewhere
        handles = await asyncio.gather(*(child.launch() for _ in range(20)))
        handed = await asyncio.to_thread(hand_over, asyncio.get_running_loop())

        for handle in (*handles, kapusta.handle(handed)):
            assert await handle.result(timeout=20) == "ran"
