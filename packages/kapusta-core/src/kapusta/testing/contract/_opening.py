"""Laws of URLs: what a URL leads to, and a twin of what it opened."""
# ruff: noqa: S101 - a law asserts

from __future__ import annotations

import pytest

from kapusta._clock import Clock
from kapusta._crud import BaseCRUD
from kapusta._errors import StoreNotStartedError, StoreUrlError
from kapusta._plugins import installed
from kapusta._records import TaskQuery

from .._examples import add, found, task
from .._law import law
from .._stage import Stage, on_twin

UNKNOWN = "kapusta_no_such_parameter"


def from_url(url: str, clock: Clock) -> BaseCRUD:
    """Return the handle that the installed plugins make of a URL, as ``Kapusta(url)`` does."""
    return installed().from_url(url, clock)


class OpeningLaws:
    """What holds for a handle that was opened by a URL; needs the fixture ``url``."""

    @law
    async def test_a_url_leads_to_its_storage(self, stage: Stage, url: str) -> None:
        """A handle by URL and a handle of ``open_backend`` see each other's tasks.

        If it fails: ``from_url`` drops a part of the URL, or reads it differently from the constructor.
        """
        store = await stage.open()
        opened = stage.keep(from_url(url, stage.clock))
        await opened.startup()
        first, second = task(), task()

        await add(store, first)
        seen = await found(opened)
        await add(opened, second)

        assert seen == [first.id]
        assert await found(store) == [first.id, second.id]

    @law
    async def test_opening_a_url_starts_nothing(self, stage: Stage, url: str) -> None:
        """A handle by URL has the clock that was given, and waits for ``startup``.

        If it fails: ``from_url`` drops its clock, or opens the store.
        """
        opened = stage.keep(from_url(url, stage.clock))

        assert opened.clock is stage.clock
        with pytest.raises(StoreNotStartedError):
            await opened.find_tasks(TaskQuery())

    @law
    async def test_a_twin_of_an_opened_url_sees_the_same_tasks(self, stage: Stage, url: str) -> None:
        """A twin of a handle by URL, and a twin of that twin, work on the storage of the URL.

        If it fails: ``twin`` builds its handle from a part of the URL only, and drops its parameters.
        """
        store = await stage.open()
        opened = stage.keep(from_url(url, stage.clock))
        await opened.startup()
        first, second, third = task(), task(), task()
        await add(store, first)

        async def work(twin: BaseCRUD) -> list[int]:
            ids = await found(twin)
            await add(twin, second)
            await on_twin(twin, lambda next_twin: add(next_twin, third))
            return ids

        seen = await on_twin(opened, work)

        assert seen == [first.id]
        assert await found(opened) == await found(store) == [first.id, second.id, third.id]

    @law
    async def test_a_twin_of_an_opened_url_keeps_its_parameters(self, stage: Stage, url: str) -> None:
        """A twin, and a twin of that twin, show the same text, clock and capabilities as the handle by URL.

        If it fails: ``twin`` drops parameters that do not decide where the tasks are, such as a timeout.
        """
        opened = stage.keep(from_url(url, stage.clock))
        await opened.startup()

        for twin in (opened.twin(), opened.twin().twin()):
            assert repr(twin) == repr(opened)
            assert twin.clock is stage.clock
            assert twin.capabilities == opened.capabilities

    @law
    async def test_a_parameter_that_is_not_known_is_refused(self, stage: Stage, url: str) -> None:
        """A URL with an unknown parameter raises `StoreUrlError`, at once or at ``startup``, which names it.

        If it fails: a misspelt parameter is ignored, or the error of a driver comes through.
        """
        mistaken = f"{url}{'&' if '?' in url else '?'}{UNKNOWN}=1"

        with pytest.raises(StoreUrlError) as refused:
            await stage.keep(from_url(mistaken, stage.clock)).startup()

        assert UNKNOWN in str(refused.value)
