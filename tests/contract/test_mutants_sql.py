"""The contract watches over each dialect of SQL too: a line of it is changed, and a law fails."""

from __future__ import annotations

import importlib.util
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from inspect import signature
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import pytest
from sqlalchemy import make_url

import kapusta_sqlalchemy
from kapusta.testing import BackendContract, _law
from kapusta.testing._law import laws_of
from kapusta.testing.contract import _faults, _opening
from tests.contract.handles import renamed, server_behind
from tests.contract.mutants import Mutant, changed, read_table

LAWS = dict(laws_of(BackendContract))
DIALECTS = ("sqlite", "postgresql", "mysql")
RAW = ("ConnectionRefusedError", "FileNotFoundError", "SAWarning", "TimeoutError")
"""How a mutant fails that lets an error through, waits for ever, or takes what it should refuse."""


class Case(NamedTuple):
    """A mutant, and the dialect that it is one of."""

    dialect: str
    mutant: Mutant


def mutants_of(dialect: str) -> list[Mutant]:
    """The table of a dialect."""
    return read_table(Path(__file__).with_name(f"mutants_{dialect}.txt").read_text(encoding="utf-8"))


CASES = [Case(dialect, mutant) for dialect in DIALECTS for mutant in mutants_of(dialect)]


@pytest.fixture
def url(case: Case, request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of the mutant's kind."""
    if case.dialect == "sqlite":
        (tmp_path / "store").mkdir()
        return f"sqlite+aiosqlite:///{tmp_path / 'store' / 'tasks.db'}"
    found: str = request.getfixturevalue("postgres_url" if case.dialect == "postgresql" else "mysql_url")
    return found


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
    """How a package breaks a law, if it does, in tables of its own."""
    crud = module.AlchemyCRUD
    fixtures = {
        "url": lambda: url,
        "outage": lambda: partial(renamed, Path(str(make_url(url).database)).parent),
        "server": lambda: server_behind(url, crud, table_prefix=prefix),
    }
    wanted = signature(LAWS[law]).parameters.keys() & fixtures.keys()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                _opening, "from_url", lambda url, clock: crud(url, clock=clock, table_prefix=prefix)
            )
            LAWS[law](
                BackendContract(),
                lambda clock: crud(url, clock=clock, table_prefix=prefix),
                **{name: fixtures[name]() for name in wanted},
            )
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - a mutant may fail in any way
        return f"{type(error).__name__}: {error}"
    return None


@pytest.mark.parametrize(
    "case", CASES, ids=lambda case: f"{case.dialect}:{case.mutant.file}:{case.mutant.law}"
)
def test_a_mutant_of_a_dialect_breaks_its_law(
    case: Case, copy: Path, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The law holds for the dialect as it is, and fails once the one line is changed, which is still SQL."""
    monkeypatch.setattr(_law, "PATIENCE", 20)
    monkeypatch.setattr(_faults, "PATIENCE", 5)
    mutant = case.mutant
    unchanged = _broken(mutant.law, kapusta_sqlalchemy, url, "unchanged_")
    file = copy / "_dialects" / f"_{case.dialect}" / mutant.file
    file.write_text(changed(file.read_text(encoding="utf-8"), mutant), encoding="utf-8")

    failure = _broken(mutant.law, _loaded(copy), url, "changed_")

    assert unchanged is None
    assert failure is not None, f"{mutant.law} does not notice that {mutant.line!r} became {mutant.becomes!r}"
    assert failure.startswith(("AssertionError", "StoreUnavailableError", *RAW)), failure


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_table_has_ten_mutants_or_more(dialect: str) -> None:
    """Each is another, and names a law that exists."""
    mutants = mutants_of(dialect)

    assert len(set(mutants)) == len(mutants) >= 10
    assert {mutant.law for mutant in mutants} <= LAWS.keys()
