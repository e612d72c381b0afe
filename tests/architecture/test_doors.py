"""Who may import what: the doors are public, all else is private, and privacy is kept."""

from __future__ import annotations

import importlib

import pytest

from tests.architecture.tree import Distribution, distributions, imported, python_files, shown

PUBLIC = {
    "kapusta": {
        "kapusta",
        "kapusta.backend",
        "kapusta.core",
        "kapusta.crud",
        "kapusta.models",
        "kapusta.testing",
        "kapusta.testing.clock",
        "kapusta.testing.contract",
        "kapusta.testing.faulty",
        "kapusta.testing.machine",
        "kapusta.types",
    },
    "kapusta_memory": {"kapusta_memory"},
    "kapusta_sqlalchemy": {"kapusta_sqlalchemy"},
}

INSIDERS = {
    "kapusta": (
        "tests/core/",
        "tests/worker/",
        "tests/contract/",
        "tests/docs/",
        "tests/security/",
        "tests/traps/",
        "tests/chaos/test_safeguards.py",
    ),
    "kapusta_memory": ("tests/memory/",),
    "kapusta_sqlalchemy": (
        "tests/sqlalchemy/",
        "tests/postgresql/",
        "tests/mysql/",
        "tests/outages/",
        "tests/traps/",
    ),
}

PATHS_OF_OTHERS = ("kapusta_sqlalchemy.migrations",)  # Alembic names these files, and loads them by path


@pytest.mark.parametrize("distribution", distributions(), ids=lambda it: it.name)
def test_a_distribution_has_no_public_module_beyond_its_doors(distribution: Distribution) -> None:
    """A module without an underscore is a promise; a new one is made in this table first, on purpose."""
    modules = {distribution.module(path) for path in distribution.files()}
    ours = {module for module in modules if not module.startswith(PATHS_OF_OTHERS)}

    public = {module for module in ours if not _private(module) and not module.endswith(".__main__")}

    assert public <= PUBLIC[distribution.package]


def test_nothing_outside_a_distribution_imports_its_private_modules() -> None:
    """Tests, examples and backends come in by the doors; only a distribution's own tests look inside it."""
    trespasses = [
        f"{shown(path, line)} imports {name}"
        for path in python_files("tests", "examples", "packages")
        for name, line in imported(path)
        if (package := name.partition(".")[0]) in INSIDERS
        and _private(name)
        and not shown(path).startswith(INSIDERS[package])
        and f"/src/{package}/" not in shown(path)
    ]

    assert trespasses == []


@pytest.mark.parametrize("door", ["kapusta", "kapusta.backend", "kapusta_memory", "kapusta_sqlalchemy"])
def test_a_door_holds_every_name_it_lists(door: str) -> None:
    """`__all__` is a door's table of contents: no name in it is missing, and none is private."""
    module = importlib.import_module(door)

    wrong = [name for name in module.__all__ if name.startswith("_") or not hasattr(module, name)]

    assert module.__all__
    assert wrong == []


def _private(name: str) -> bool:
    return any(part.startswith("_") and not part.startswith("__") for part in name.split("."))
