"""SQLite, the embedded default, under the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from kapusta.backend import Clock
from kapusta.testing import BackendContract, OpenBackend, Outage
from kapusta_sqlalchemy import AlchemyCRUD
from tests.contract.handles import renamed


class TestSQLite(BackendContract):
    """Handles to one file."""

    @pytest.fixture
    def open_backend(self, tmp_path: Path) -> OpenBackend:
        """A callable that gives handles to a new file."""
        url = f"sqlite+aiosqlite:///{tmp_path}/store/tasks.db"
        (tmp_path / "store").mkdir()

        def open_backend(clock: Clock) -> AlchemyCRUD:
            return AlchemyCRUD(url, clock=clock)

        return open_backend

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        """The URL of the same file, with an option for the driver."""
        return f"sqlite+aiosqlite:///{tmp_path}/store/tasks.db?timeout=4"

    @pytest.fixture
    def outage(self, tmp_path: Path) -> Outage:
        """The folder has another name for a while."""
        return lambda: renamed(tmp_path / "store")
