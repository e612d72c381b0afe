from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.plugins import sites


@pytest.fixture(scope="session")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site that holds what our distributions ask for."""
    return sites.link_installed(tmp_path_factory.mktemp("libraries") / "site", sites.LIBRARIES)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Our distributions as wheels, all in one folder."""
    folder = tmp_path_factory.mktemp("wheels")
    return {name: sites.build_wheel(sites.project_of(name), folder) for name in sites.OURS}


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, Path]) -> Path:
    """A site that holds the core alone."""
    return sites.unpack(wheels["kapusta-core"], tmp_path_factory.mktemp("core") / "site")


@pytest.fixture(scope="session")
def memory(tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, Path]) -> Path:
    """A site that holds the memory backend alone."""
    return sites.unpack(wheels["kapusta-memory"], tmp_path_factory.mktemp("memory") / "site")


@pytest.fixture(scope="session")
def new_environment(
    tmp_path_factory: pytest.TempPathFactory, wheels: dict[str, Path], libraries: Path
) -> Callable[[], sites.Environment]:
    """Makes virtual environments in which nothing of ours is installed."""

    def make() -> sites.Environment:
        folder = tmp_path_factory.mktemp("environment")
        return sites.Environment(folder / "env", libraries=libraries, wheels=wheels["kapusta-core"].parent)

    return make
