"""The memory backend under the contract."""

from __future__ import annotations

import secrets
from datetime import timedelta

import pytest

from kapusta import Kapusta
from kapusta.testing import BackendContract, OpenBackend
from kapusta_memory import MemoryCRUD
from tests.contract.handles import handles_to_one_store


class TestMemory(BackendContract):
    """Handles to one store in memory."""

    @pytest.fixture
    def open_backend(self, url: str) -> OpenBackend:
        """A callable that gives handles to a new store."""
        opened = Kapusta(url).crud
        assert isinstance(opened, MemoryCRUD)
        return handles_to_one_store(beside=opened)

    @pytest.fixture
    def url(self) -> str:
        """The name of a new store."""
        return f"memory://{secrets.token_hex(8)}"


def test_memory_declares_what_it_can() -> None:
    """Wake-ups are pushed, instants are kept to the microsecond, and nothing outlives or leaves the process."""
    facts = MemoryCRUD.capabilities

    assert facts.pushes_wakeups
    assert facts.time_resolution == timedelta(microseconds=1)
    assert not facts.survives_restart
    assert not facts.shared_between_processes
