"""Laws of outages: a store that is out of reach is reported by errors of ours, and is used again when it is back."""
# ruff: noqa: S101 - a law asserts

from __future__ import annotations

import pytest

from kapusta._errors import StoreUnavailableError, StoreUrlError

from .._examples import add, look, started, task
from .._law import law
from .._stage import Outage, Stage
from ._operations import cannot


class OutageLaws:
    """What holds while a store is out of reach, and after; needs the fixture ``outage``."""

    @law
    async def test_during_an_outage_every_operation_says_unavailable(
        self, stage: Stage, outage: Outage
    ) -> None:
        """Each operation raises `StoreUnavailableError`, and none the error of a driver or of the system.

        If it fails: an exception of the engine is not caught, so a worker takes it for a mistake.
        """
        store = await stage.open()
        given = await started(store)

        with outage():
            failures = await cannot(store, given)

        assert failures == {}

    @law
    async def test_after_an_outage_a_handle_works_again(self, stage: Stage, outage: Outage) -> None:
        """The same handle, not restarted, finds what was stored before the outage, and stores more.

        If it fails: a broken connection or a broken file handle is kept.
        """
        store = await stage.open()
        given = await started(store)

        with outage():
            await cannot(store, given)

        assert await look(store, given.id) == given
        assert await add(store, task()) == ["new"]

    @law
    async def test_a_start_during_an_outage_can_be_repeated(self, stage: Stage, outage: Outage) -> None:
        """``startup`` raises `StoreUnavailableError` or `StoreUrlError`, and succeeds after the outage.

        If it fails: a half-opened handle counts as started, or a new, empty store was made.
        """
        store = await stage.open()
        given = await started(store)
        fresh = stage.fresh()

        with outage(), pytest.raises((StoreUnavailableError, StoreUrlError)):
            await fresh.startup()
        await fresh.startup()

        assert await look(fresh, given.id) == given
