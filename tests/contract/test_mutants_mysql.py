"""The contract watches over the dialect of MariaDB and MySQL too: a line of it is changed, and a law fails."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

import kapusta_sqlalchemy
from kapusta.testing import BackendContract, _law
from kapusta.testing._law import laws_of
from tests.contract.mutants import Mutant, changed, read_table

TABLE = Path(__file__).with_name("mutants_mysql.txt")
MUTANTS = read_table(TABLE.read_text(encoding="utf-8"))
LAWS = dict(laws_of(BackendContract))


@pytest.fixture
def copy(tmp_path: Path) -> Iterator[Path]:
    """The folder of a copy of the package, to be changed before it is loaded."""
    installed = Path(kapusta_sqlalchemy.__file__).parent
    folder = tmp_path / "copied_sqlalchemy"
    shutil.copytree(installed, folder, ignore=shutil.ignore_patterns("__pycache__"))
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == folder.name]:
        del sys.modules[name]


def _loaded(folder: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(folder.name, folder / "__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[folder.name] = module
    spec.loader.exec_module(module)
    return module


def _broken(law: str, module: ModuleType, url: str, prefix: str) -> str | None:
    """How the copy breaks a law, if it does, in tables of its own."""
    try:
        LAWS[law](BackendContract(), lambda clock: module.AlchemyCRUD(url, clock=clock, table_prefix=prefix))
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - a mutant may fail in any way
        return f"{type(error).__name__}: {error}"
    return None


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}:{mutant.law}")
def test_a_mutant_of_the_dialect_breaks_its_law(
    mutant: Mutant, copy: Path, mysql_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The law holds for the dialect as it is, and fails once the one line is changed."""
    monkeypatch.setattr(_law, "PATIENCE", 20)
    unchanged = _broken(mutant.law, kapusta_sqlalchemy, mysql_url, "unchanged_")
    file = copy / "_dialects" / "_mysql" / mutant.file
    file.write_text(changed(file.read_text(encoding="utf-8"), mutant), encoding="utf-8")

    failure = _broken(mutant.law, _loaded(copy), mysql_url, "changed_")

    assert unchanged is None
    assert failure is not None, f"{mutant.law} does not notice that {mutant.line!r} became {mutant.becomes!r}"
    assert not failure.startswith(("SyntaxError", "OperationalError", "ProgrammingError")), failure


def test_the_table_has_ten_mutants_or_more() -> None:
    """Each is another, and names a law that exists."""
    assert len(set(MUTANTS)) == len(MUTANTS) >= 10
    assert {mutant.law for mutant in MUTANTS} <= LAWS.keys()
