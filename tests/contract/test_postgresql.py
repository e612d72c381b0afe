"""PostgreSQL under the contract."""

from __future__ import annotations

import pytest

from kapusta.backend import Clock
from kapusta.testing import BackendContract, OpenBackend, Server
from kapusta_sqlalchemy import AlchemyCRUD
from tests.contract.handles import server_behind


class TestPostgreSQL(BackendContract):
    """Handles to one database."""

    @pytest.fixture
    def open_backend(self, postgres_url: str) -> OpenBackend:
        """A callable that gives handles to an empty database."""

        def open_backend(clock: Clock) -> AlchemyCRUD:
            return AlchemyCRUD(postgres_url, clock=clock)

        return open_backend

    @pytest.fixture
    def url(self, postgres_url: str) -> str:
        """The URL of the same database, with an option for the driver."""
        return f"{postgres_url}?timeout=30"

    @pytest.fixture
    def server(self, postgres_url: str) -> Server:
        """The server of the same database."""
        return server_behind(postgres_url)
