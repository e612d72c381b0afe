"""The whole of what a backend's author writes to have it tested."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from kapusta.backend import Clock
from kapusta.testing import BackendContract, OpenBackend, Outage
from kapusta_jsonfile import JsonFileCRUD


class TestJsonFile(BackendContract):
    """Handles to one file."""

    @pytest.fixture
    def open_backend(self, tmp_path: Path) -> OpenBackend:
        """A callable that gives handles to a new file."""

        def open_backend(clock: Clock) -> JsonFileCRUD:
            return JsonFileCRUD(tmp_path / "tasks.json", clock=clock)

        return open_backend

    @pytest.fixture
    def url(self, tmp_path: Path) -> str:
        """The URL of the same file."""
        return f"jsonfile://{tmp_path / 'tasks.json'}"

    @pytest.fixture
    def outage(self, tmp_path: Path) -> Outage:
        """Something else has the name of the file for a while."""

        @contextmanager
        def outage() -> Iterator[None]:
            aside = (tmp_path / "tasks.json").rename(tmp_path / "aside.json")
            (tmp_path / "tasks.json").mkdir()
            yield
            (tmp_path / "tasks.json").rmdir()
            aside.rename(tmp_path / "tasks.json")

        return outage
