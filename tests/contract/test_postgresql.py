"""PostgreSQL under the contract."""

from __future__ import annotations

import pytest

from kapusta.backend import Clock
from kapusta.testing import BackendContract, OpenBackend
from kapusta_sqlalchemy import AlchemyCRUD


class TestPostgreSQL(BackendContract):
    """Handles to one database."""

    @pytest.fixture
    def open_backend(self, postgres_url: str) -> OpenBackend:
        """A callable that gives handles to an empty database."""

        def open_backend(clock: Clock) -> AlchemyCRUD:
            return AlchemyCRUD(postgres_url, clock=clock)

        return open_backend
