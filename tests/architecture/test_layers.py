"""The import contracts hold, and would notice if they did not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, distributions

PLANTS = [
    ("kapusta/_enums.py", "from kapusta import _records", "layers"),
    ("kapusta/_records/_record.py", "import kapusta.backend", "layers"),
    ("kapusta/_enums.py", "from kapusta._clock import Clock", "layers"),
    ("kapusta/_unplaced.py", '"""A module without a place."""', "layers"),
    ("kapusta/_records/_record.py", "import kapusta_memory", "no-engine"),
    ("kapusta/_errors/_stores.py", "import sqlalchemy.exc", "no-engine"),
    ("kapusta/_records/_record.py", "import pytest", "no-pytest"),
    ("kapusta_memory/_plugin.py", "from kapusta._records import NewTask", "memory-door"),
    ("kapusta_memory/_plugin.py", "from kapusta import Kapusta", "memory-door"),
    ("kapusta_memory/_plugin.py", "import kapusta_sqlalchemy", "memory-door"),
    ("kapusta_sqlalchemy/_plugin.py", "import kapusta._errors", "sqlalchemy-door"),
    ("kapusta_sqlalchemy/_plugin.py", "from kapusta import Kapusta", "sqlalchemy-door"),
    ("kapusta_sqlalchemy/_plugin.py", "import kapusta_memory", "sqlalchemy-door"),
]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of all sources, with the repository's own contracts beside it."""
    for distribution in distributions():
        shutil.copytree(
            distribution.source, tmp_path / distribution.package, ignore=shutil.ignore_patterns("__pycache__")
        )
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_sources_keep_every_contract(copy: Path) -> None:
    """Without a plant the contracts are kept, so what the plants break, the plants broke."""
    ran = lint_imports(copy)

    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(("file", "plant", "contract"), PLANTS)
def test_a_planted_import_breaks_its_contract(copy: Path, file: str, plant: str, contract: str) -> None:
    """One bad import, and the contract that forbids it is broken and names the file."""
    with (copy / file).open("a") as target:
        target.write(f"\n{plant}\n")

    ran = lint_imports(copy, contract)

    assert ran.returncode == 1, ran.stdout + ran.stderr
    assert "0 kept, 1 broken" in ran.stdout
    assert file.removesuffix(".py").replace("/", ".").removeprefix("kapusta.") in ran.stdout


def lint_imports(folder: Path, *contracts: str) -> subprocess.CompletedProcess[str]:
    """Check the sources in a folder, as `lint-imports` does from the command line."""
    program = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    chosen = [word for contract in contracts for word in ("--contract", contract)]
    return subprocess.run(
        [sys.executable, "-c", program, "--no-cache", "--no-logo", *chosen],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
