"""MariaDB and MySQL under the contract."""

from __future__ import annotations

import pytest

from kapusta.backend import Clock
from kapusta.testing import BackendContract, OpenBackend
from kapusta_sqlalchemy import AlchemyCRUD


class TestMySQL(BackendContract):
    """Handles to one database."""

    @pytest.fixture
    def open_backend(self, mysql_url: str) -> OpenBackend:
        """A callable that gives handles to a new database."""

        def open_backend(clock: Clock) -> AlchemyCRUD:
            return AlchemyCRUD(mysql_url, clock=clock)

        return open_backend
