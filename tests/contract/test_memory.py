"""The memory backend under the contract."""

from __future__ import annotations

from datetime import timedelta

import pytest

from kapusta.backend import Clock
from kapusta.testing import BackendContract
from kapusta.testing.contract import OpenBackend
from kapusta_memory import MemoryCRUD


class TestMemory(BackendContract):
    """Handles to one store in memory."""

    @pytest.fixture
    def open_backend(self) -> OpenBackend:
        """A callable that gives handles to a new store."""
        first = MemoryCRUD()

        def open_backend(clock: Clock) -> MemoryCRUD:
            handle = MemoryCRUD(clock=clock)
            handle.storage = first.storage
            return handle

        return open_backend


def test_memory_declares_what_it_can() -> None:
    """Wake-ups are pushed, instants are kept to the microsecond, and nothing outlives or leaves the process."""
    facts = MemoryCRUD.capabilities

    assert facts.pushes_wakeups
    assert facts.time_resolution == timedelta(microseconds=1)
    assert not facts.survives_restart
    assert not facts.shared_between_processes
