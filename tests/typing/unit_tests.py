"""Tests as an application's author, and a backend's, write them; never run, only checked with `mypy --strict`."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime, timedelta
from pathlib import Path
from typing import assert_type

import pytest

from kapusta import BaseCRUD, Kapusta, StillStartedError
from kapusta.testing import (
    BackendContract,
    FaultKind,
    FaultyCRUD,
    ManualClock,
    OpenBackend,
    Outage,
    Proxy,
    Server,
)
from kapusta_memory import MemoryCRUD
from kapusta_sqlalchemy import AlchemyCRUD


async def test_a_reminder_comes_after_three_days() -> None:
    """Time is moved, and not waited for."""
    clock = ManualClock()
    kapusta = Kapusta(MemoryCRUD(clock=clock))

    @kapusta.task(eta_delta=timedelta(days=3))
    async def remind(who: str) -> str:
        await clock.sleep(5)
        return who

    async with kapusta:
        task = await remind.launch("me")
        await clock.advance(days=3, seconds=6)
        clock.shift(hours=1)
        await clock.settle()
        await kapusta.run_until_idle()
        assert_type(await task.result(timeout=0), str)
    assert_type(clock.now(), datetime)
    assert_type(clock.monotonic(), float)
    assert_type(clock.offset, timedelta)


async def test_an_application_is_tested_in_memory(application: Kapusta) -> None:
    """Its tasks stay registered; the store is another one for a while."""
    with application.using(MemoryCRUD()) as crud:
        assert_type(crud, BaseCRUD)
    with application.using("memory://"):
        async with application:
            await application.run_until_idle()
    try:
        with application.using("memory://"):
            await application.startup()
    except StillStartedError:
        await application.shutdown()


async def test_an_application_lives_through_a_store_that_errs() -> None:
    """Faults on a plan, on any backend."""
    crud = FaultyCRUD(
        AlchemyCRUD("sqlite:///tasks.db"),
        seed=1,
        rate=0.5,
        kinds=[FaultKind.before, FaultKind.after, FaultKind.delay, FaultKind.hang],
        longest_delay=0.1,
    )
    crud.calm()
    crud.storm()
    assert_type(crud.fired[FaultKind.before], int)
    assert_type(crud.crud, BaseCRUD)
    async with Kapusta(crud):
        pass


class TestMyBackend(BackendContract):
    """The contract, for a backend of one's own."""

    @pytest.fixture
    def open_backend(self, tmp_path: Path) -> OpenBackend:
        """What gives handles to one storage."""
        return lambda clock: AlchemyCRUD(f"sqlite:///{tmp_path / 'tasks.db'}", clock=clock)

    @pytest.fixture
    def server(self) -> Server:
        """A store on a socket, for the laws that cut its connections."""
        return Server(host="127.0.0.1", port=5432, open_through=lambda port, clock: MemoryCRUD(clock=clock))

    @pytest.fixture
    def outage(self) -> Outage:
        """Takes the store away for a while."""
        return nullcontext


async def through_a_network_that_fails() -> None:
    """A proxy for tests of one's own."""
    async with Proxy("127.0.0.1", 5432) as proxy:
        assert_type(proxy.port, int)
        await proxy.hang_up()
        proxy.pick_up()
