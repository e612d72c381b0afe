"""A lease that cannot be renewed is at its end here before it is in the store, and is said to be."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from kapusta.backend import Renewed, RenewRequest
from kapusta.testing import ManualClock
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.scripted import ScriptedCRUD
from tests.worker.stored import stored


class SlowToAnswer(ScriptedCRUD):
    """Renews at once, and its answer takes five seconds."""

    async def renew_leases(self, request: RenewRequest) -> Sequence[Renewed]:
        """As it says."""
        answers = await super().renew_leases(request)
        await self.clock.sleep(5)
        return answers


async def test_a_body_is_stopped_before_its_lease_ends_however_long_the_last_answer_took(
    in_memory: OpenStore, make_kapusta: MakeKapusta, caplog: pytest.LogCaptureFixture
) -> None:
    """A lease counts from before its renewal was sent, and a line of the log names the task that lost it."""
    clock = ManualClock()
    store = SlowToAnswer(in_memory(clock))
    kapusta = make_kapusta(store, lease=30, default_timeout=None)
    stopped = []

    @kapusta.task()
    async def long() -> None:
        try:
            await clock.sleep(3600)
        finally:
            stopped.append(clock.now())

    await kapusta.startup()
    handle = await long.launch()
    await clock.advance(seconds=16)  # it was renewed after ten, and answered after fifteen
    lease_end = (await stored(store.crud, handle)).lease_end
    store.script.down = {"*"}
    await clock.advance(seconds=29)
    store.script.down = set()

    assert lease_end is not None
    assert len(stopped) == 1
    assert stopped[0] <= lease_end
    said = [record for record in caplog.records if "its lease could not be renewed in time" in record.message]
    assert [record.levelname for record in said] == ["WARNING"]
    assert f"Task {int(handle)} '" in said[0].message
    assert said[0].task_id == int(handle)  # type: ignore[attr-defined]  # what `extra` adds
