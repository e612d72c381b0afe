"""Each distribution stands alone: it declares what it imports, and carries what it needs."""

from __future__ import annotations

import ast
import itertools
import re
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, Distribution, distributions, imported, parsed, shown

ENGINES = {"sqlalchemy", "alembic", "aiosqlite", "asyncpg", "aiomysql", "greenlet"}
IMPORTED_AS = {
    "kapusta-core": "kapusta",
    "kapusta-memory": "kapusta_memory",
    "kapusta-sqlalchemy": "kapusta_sqlalchemy",
}

ALL = distributions("packages/*", "examples/kapusta-*")
BACKENDS = [each for each in ALL if "kapusta" in each.metadata.get("entry-points", {})]

each_distribution = pytest.mark.parametrize("distribution", ALL, ids=lambda it: it.name)
each_backend = pytest.mark.parametrize("distribution", BACKENDS, ids=lambda it: it.name)


def test_the_core_asks_for_no_engine() -> None:
    """Whoever installs the core, to write a backend of another kind, gets no database package with it."""
    (core,) = [distribution for distribution in ALL if distribution.name == "kapusta-core"]

    asked = _requirements(core)

    assert asked & (ENGINES | {"kapusta-sqlalchemy", "kapusta-memory"}) == set()


@each_distribution
def test_a_distribution_declares_what_it_imports(distribution: Distribution) -> None:
    """An import that only works because a neighbour asked for the package breaks when the neighbour stops."""
    declared = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in _requirements(distribution)}
    allowed = declared | {distribution.package, *sys.stdlib_module_names}

    undeclared = [
        f"{shown(path, line)} imports {name}"
        for path in distribution.files()
        for name, line in imported(path)
        if name.partition(".")[0] not in allowed
    ]

    assert undeclared == []


@each_distribution
def test_a_distribution_carries_its_own_papers(distribution: Distribution) -> None:
    """A reader of the wheel finds the README, the licence and the marker that makes its types count."""
    papers = ["README.md", "LICENSE", f"src/{distribution.package}/py.typed"]

    missing = [paper for paper in papers if not (distribution.folder / paper).is_file()]

    assert missing == []


@each_distribution
def test_the_licence_is_the_same_everywhere(distribution: Distribution) -> None:
    """The copies exist because a wheel cannot reach outside its folder, not to differ."""
    assert (distribution.folder / "LICENSE").read_text() == (ROOT / "LICENSE").read_text()


def test_the_distributions_are_of_one_version() -> None:
    """They are published together, so a report that names a version names all three."""
    versions = {distribution.metadata["version"] for distribution in distributions()}

    assert len(versions) == 1


@each_backend
def test_every_backend_is_under_the_contract(distribution: Distribution) -> None:
    """A distribution that offers itself as a backend subclasses the contract suite in tests of its own."""
    folders = [ROOT / "tests" / "contract", distribution.folder / "tests"]
    suites = [
        path
        for folder in folders
        for path in folder.rglob("test_*.py")
        if any(name.partition(".")[0] == distribution.package for name, _ in imported(path))
        and _subclasses(path, "BackendContract")
    ]

    assert suites, f"no test module imports {distribution.package} and subclasses BackendContract"


def test_there_are_backends_to_hold_to_the_contract() -> None:
    """The rule above speaks of the backends there are; at least the two of our own are among them."""
    assert {"kapusta-memory", "kapusta-sqlalchemy"} <= {distribution.name for distribution in BACKENDS}


def test_the_pasted_test_command_is_the_one_that_is_run() -> None:
    """What a newcomer pastes from the documents is, letter for letter, what guards each change."""
    command = "python3 -m venv .venv && .venv/bin/pip install -q nox && .venv/bin/nox -s tests"

    places = ["README.md", "CONTRIBUTING.md", ".ci/run"]
    without = [place for place in places if command not in (ROOT / place).read_text()]

    assert without == []


def _requirements(distribution: Distribution) -> set[str]:
    optional = distribution.metadata.get("optional-dependencies", {})
    every = itertools.chain(distribution.metadata.get("dependencies", []), *optional.values())
    return {re.split(r"[^A-Za-z0-9._-]", requirement, maxsplit=1)[0].lower() for requirement in every}


def _subclasses(path: Path, name: str) -> bool:
    classes = (node for node in ast.walk(parsed(path)) if isinstance(node, ast.ClassDef))
    return any(ast.unparse(it).rpartition(".")[2] == name for node in classes for it in node.bases)
