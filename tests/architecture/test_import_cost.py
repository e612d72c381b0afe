"""What an import loads: a door is cheap, and what is heavy comes when it is first used."""

from __future__ import annotations

import subprocess
import sys

import pytest

SHOW_LOADED = """
import importlib, sys
import asyncio
before = set(sys.modules)
importlib.import_module(sys.argv[1])
print("\\n".join(sorted(set(sys.modules) - before)))
"""

ENGINES = {"sqlalchemy", "alembic", "aiosqlite", "asyncpg", "aiomysql", "greenlet", "sqlite3"}
TEST_TOOLS = {"pytest", "_pytest", "hypothesis", "pytest_asyncio"}
SLOW_TO_LOAD = {
    "concurrent.futures.process",
    "importlib.metadata",
    "multiprocessing",
    "cronsim",
    "pickle",
    "rich",
    "unittest",
}
BACKENDS = {"kapusta_memory", "kapusta_sqlalchemy"}


@pytest.mark.parametrize(
    "door", ["kapusta", "kapusta.backend", "kapusta.core", "kapusta.crud", "kapusta.models"]
)
def test_a_door_loads_no_engine_no_backend_and_no_test_tool(door: str) -> None:
    """An application pays at import for the scheduler alone; plugins are found when a Kapusta is made."""
    loaded = loaded_by(door)

    assert loaded & (ENGINES | BACKENDS | TEST_TOOLS | SLOW_TO_LOAD) == set()


def test_the_testing_door_loads_without_pytest() -> None:
    """A test that only moves a clock, under any runner, needs no pytest."""
    loaded = loaded_by("kapusta.testing")

    assert loaded & (ENGINES | BACKENDS | TEST_TOOLS) == set()


@pytest.mark.parametrize("plugin", ["kapusta_memory._plugin", "kapusta_sqlalchemy._plugin"])
def test_a_plugin_loads_no_engine(plugin: str) -> None:
    """Every installed plugin is loaded to ask its name; the engine waits until that backend is chosen."""
    loaded = loaded_by(plugin)

    assert loaded & (ENGINES | TEST_TOOLS) == set()


def test_what_an_import_loads_is_seen() -> None:
    """The measure itself: an import that does load an engine is reported as such."""
    assert "sqlalchemy" in loaded_by("sqlalchemy.engine")


def loaded_by(module: str) -> set[str]:
    """Return the names of all modules that importing one adds to a fresh interpreter that has asyncio."""
    ran = subprocess.run(
        [sys.executable, "-c", SHOW_LOADED, module], capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return set(ran.stdout.split())
