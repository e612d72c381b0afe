"""MariaDB and MySQL under the contract."""

from __future__ import annotations

import pytest

from kapusta.backend import Clock
from kapusta.testing import BackendContract, OpenBackend, Server
from kapusta_sqlalchemy import AlchemyCRUD
from tests.contract.handles import server_behind


# Of a connection whose options it refuses, aiomysql 0.3.2 stumbles over the remains when they are collected.
@pytest.mark.filterwarnings("ignore:Exception ignored in. <function Connection.__del__")
class TestMySQL(BackendContract):
    """Handles to one database."""

    @pytest.fixture
    def open_backend(self, mysql_url: str) -> OpenBackend:
        """A callable that gives handles to a new database."""

        def open_backend(clock: Clock) -> AlchemyCRUD:
            return AlchemyCRUD(mysql_url, clock=clock)

        return open_backend

    @pytest.fixture
    def url(self, mysql_url: str) -> str:
        """The URL of the same database, with an option for the driver."""
        return f"{mysql_url}?charset=utf8mb4"

    @pytest.fixture
    def server(self, mysql_url: str) -> Server:
        """The server of the same database."""
        return server_behind(mysql_url)
