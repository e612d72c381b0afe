"""SQLite, the embedded default, under the contract."""

from __future__ import annotations

from pathlib import Path

import pytest

from kapusta.backend import Clock
from kapusta.testing import BackendContract, OpenBackend
from kapusta_sqlalchemy import AlchemyCRUD


class TestSQLite(BackendContract):
    """Handles to one file."""

    @pytest.fixture
    def open_backend(self, tmp_path: Path) -> OpenBackend:
        """A callable that gives handles to a new file."""
        url = f"sqlite+aiosqlite:///{tmp_path}/tasks.db"

        def open_backend(clock: Clock) -> AlchemyCRUD:
            return AlchemyCRUD(url, clock=clock)

        return open_backend
