"""What must hold where the core wheel is all there is; run by `nox -s isolated`, in an empty folder."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path

ENGINES = ["sqlalchemy", "alembic", "aiosqlite", "asyncpg", "aiomysql", "greenlet"]
OTHERS = ["pytest", "hypothesis", "kapusta_sqlalchemy", "kapusta_memory"]
DOORS = ["backend", "core", "crud", "models", "testing", "types"]

before = set(sys.modules)
kapusta = importlib.import_module("kapusta")
loaded = set(sys.modules) - before

home = Path(str(kapusta.__file__)).parent
assert home.is_relative_to(sys.prefix), f"kapusta was imported from {home}, not from the installed wheel"
assert (home / "py.typed").is_file(), "the wheel does not carry py.typed, so no type checker will read it"

brought = [name for name in ENGINES + OTHERS if importlib.util.find_spec(name)]
assert not brought, f"installing the core brought {brought}"

heavy = sorted(loaded & {"importlib.metadata", "multiprocessing", "concurrent.futures.process", "sqlite3"})
assert not heavy, f"`import kapusta` loaded {heavy} before anything needed them"

for door in DOORS:
    importlib.import_module(f"kapusta.{door}")


def refusal_of(attempt: Callable[[], object]) -> str:
    """Return what the ImportError says that an attempt must end with."""
    try:
        found = attempt()
    except ImportError as error:
        return str(error)
    raise AssertionError(f"with no backend installed, there was {found!r}")


hint = refusal_of(lambda: kapusta.AlchemyCRUD)
assert "pip install kapusta-sqlalchemy" in hint, f"the hint does not say what to install: {hint}"

hint = refusal_of(lambda: kapusta.Kapusta(crud="memory://"))
assert "pip install kapusta-memory" in hint, f"the hint does not say what to install: {hint}"

print("core alone: ok")
