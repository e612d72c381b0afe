"""Which store a `memory://` URL leads to, and what the plugin says."""

from __future__ import annotations

import asyncio
import gc

import pytest

import kapusta_memory
from kapusta.backend import BaseCRUD, NewTask, StoreUrlError, TaskQuery
from kapusta.testing import ManualClock
from kapusta_memory._plugin import kapusta_backends

(BACKEND,) = kapusta_backends()


def open_url(url: str) -> BaseCRUD:
    """A handle from a URL, in real time."""
    return BACKEND.from_url(url, None)


async def add_one(store: BaseCRUD) -> None:
    """Store a task."""
    await store.startup()
    await store.add_tasks([NewTask(id=1, token="t", name="work", payload=b"{}")])


async def count(store: BaseCRUD) -> int:
    """How many tasks there are."""
    await store.startup()
    return len(await store.find_tasks(TaskQuery()))


def test_the_plugin_names_the_backend_and_its_scheme() -> None:
    """The backend is called memory, is reached by memory://, and exports MemoryCRUD."""
    assert (BACKEND.name, BACKEND.schemes) == ("memory", ("memory",))
    assert BACKEND.exports["MemoryCRUD"]() is kapusta_memory.MemoryCRUD


def test_without_a_name_each_use_is_a_store_of_its_own() -> None:
    """Two handles from memory:// share nothing."""
    first, second = open_url("memory://"), open_url("memory://")

    asyncio.run(add_one(first))

    assert asyncio.run(count(second)) == 0


def test_a_name_is_shared_within_the_process() -> None:
    """Two handles from memory://name share one store, and memory://other is another."""
    first, second, other = open_url("memory://name"), open_url("memory://name"), open_url("memory://other")

    asyncio.run(add_one(first))

    assert asyncio.run(count(second)) == 1
    assert asyncio.run(count(other)) == 0


def test_a_named_store_is_forgotten_with_its_last_handle() -> None:
    """A store lives as long as a handle to it, so tests that use one name do not meet each other's tasks."""
    first = open_url("memory://passing")
    asyncio.run(add_one(first))
    twin = first.twin()
    del first
    kept = asyncio.run(count(open_url("memory://passing")))

    del twin
    gc.collect()

    assert kept == 1
    assert asyncio.run(count(open_url("memory://passing"))) == 0


def test_a_handle_lives_by_the_clock_it_was_given() -> None:
    """The clock is handed on; without one it is real time."""
    clock = ManualClock()

    assert BACKEND.from_url("memory://", clock).clock is clock


@pytest.mark.parametrize(
    "url", ["memory:", "memory:name", "memory:///x", "memory://a/b", "memory://a?b=c", "memory://a b"]
)
def test_a_url_that_leads_nowhere_is_refused(url: str) -> None:
    """Anything but memory:// and memory://name is an error that says what to write."""
    with pytest.raises(StoreUrlError, match="Write memory:// for a store of its own"):
        open_url(url)
