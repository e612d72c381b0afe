"""Every law can fail: a line of the memory backend, or of its rules, is changed, and the law that watches over it does."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from inspect import signature
from pathlib import Path
from types import ModuleType

import pytest

import kapusta_memory
from kapusta.testing import BackendContract, _law
from kapusta.testing._law import laws_of
from kapusta.testing.contract import _listening, _opening
from kapusta.testing.contract._faults import FaultLaws
from kapusta.testing.contract._outages import OutageLaws
from tests.contract.handles import handles_to_one_store
from tests.contract.mutants import TABLE, Mutant, changed, forget, load_changed, read_table

MUTANTS = read_table(TABLE.read_text(encoding="utf-8"))
LAWS = dict(laws_of(BackendContract))

NEVER_BROKEN = {
    "test_tasks_survive_where_it_is_declared": "memory does not declare that tasks survive a restart",
    **{name: "memory is never out of reach" for name, _ in laws_of(OutageLaws)},
    **{name: "memory is behind no socket" for name, _ in laws_of(FaultLaws)},
}
ELSEWHERE = {
    mutant.law
    for table in TABLE.parent.glob("mutants_*.txt")
    for mutant in read_table(table.read_text(encoding="utf-8"))
}
"""What is broken by a mutant of another backend."""


def broken(law: str, module: ModuleType) -> str | None:
    """How a backend breaks a law, if it does."""
    try:
        if "url" in signature(LAWS[law]).parameters:
            _open_by_url(law, module)
        else:
            LAWS[law](BackendContract(), handles_to_one_store(module.MemoryCRUD))
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - a mutant may fail in any way
        return f"{type(error).__name__}: {error}"
    return None


def _open_by_url(law: str, module: ModuleType) -> None:
    """Hold a backend against a law of URLs; a mutant is not installed, so no plugin leads to it."""
    open_url = import_module(f"{module.__name__}._urls").open_url
    url = f"memory://{law}"
    handles = handles_to_one_store(module.MemoryCRUD, beside=open_url(url, None))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_opening, "from_url", open_url)
        LAWS[law](BackendContract(), handles, url=url)


@cache
def broken_unchanged(law: str) -> str | None:
    """How the memory backend itself breaks a law: it must not."""
    return broken(law, kapusta_memory)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.file}:{mutant.law}")
def test_a_mutant_breaks_its_law(mutant: Mutant, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The law holds for the backend as it is, and fails once the one line is changed."""
    monkeypatch.setattr(_listening, "PATIENCE", 0.2)
    monkeypatch.setattr(_law, "PATIENCE", 10)
    name = f"kapusta_memory_mutant_{MUTANTS.index(mutant)}"
    unchanged = broken_unchanged(mutant.law)
    module = load_changed(tmp_path, name, mutant)

    failure = broken(mutant.law, module)
    forget(name)

    assert unchanged is None
    assert failure is not None, f"{mutant.law} does not notice that {mutant.line!r} became {mutant.becomes!r}"


def test_every_law_can_be_broken_by_one_line() -> None:
    """A law that no one-line mutant can break says nothing; the table has at least one for each."""
    watched = {mutant.law for mutant in MUTANTS}
    own = [mutant for mutant in MUTANTS if mutant.file.startswith("kapusta_memory/")]

    assert watched <= LAWS.keys(), "the table names laws that do not exist"
    assert LAWS.keys() - watched == NEVER_BROKEN.keys()
    assert NEVER_BROKEN.keys() - ELSEWHERE == {"test_tasks_survive_where_it_is_declared"}
    assert len(own) >= 30, "the memory distribution has too few mutants in files of its own"
    assert len(own) < len(MUTANTS), "the rules that it follows have none"
    assert len(set(MUTANTS)) == len(MUTANTS)


def test_a_line_that_is_not_there_once_is_refused() -> None:
    """A table that is older than the code is an error, never a mutant that changes nothing."""
    mutant = Mutant("file.py", "", "x = 1", "x = 2", "test_x")

    with pytest.raises(ValueError, match="has 0 lines 'x = 1'"):
        changed("y = 1\n", mutant)
    with pytest.raises(ValueError, match="has 2 lines"):
        changed("x = 1\nx = 1\n", mutant)
    assert changed("if y:\n    x = 1\n", mutant) == "if y:\n    x = 2\n"
