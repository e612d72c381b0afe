"""The whole of what a backend's author writes to have it tested."""

from pathlib import Path

import pytest

from kapusta.backend import Clock
from kapusta.testing import BackendContract, OpenBackend
from kapusta_jsonfile import JsonFileCRUD


class TestJsonFile(BackendContract):
    """Handles to one file."""

    @pytest.fixture
    def open_backend(self, tmp_path: Path) -> OpenBackend:
        """A callable that gives handles to a new file."""

        def open_backend(clock: Clock) -> JsonFileCRUD:
            return JsonFileCRUD(tmp_path / "tasks.json", clock=clock)

        return open_backend
