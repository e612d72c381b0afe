"""Every law can fail: a line of the memory backend is changed, and the law that watches over it does."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import kapusta_memory
from kapusta.backend import BaseCRUD, Clock
from kapusta.testing import BackendContract, _law
from kapusta.testing._law import laws_of
from kapusta.testing.contract import _listening
from tests.contract.mutants import TABLE, Mutant, changed, forget, load_changed, read_table

PACKAGE = Path(kapusta_memory.__file__).parent
MUTANTS = read_table(TABLE.read_text(encoding="utf-8"))
LAWS = dict(laws_of(BackendContract))

NEVER_BROKEN = {
    "test_tasks_survive_where_it_is_declared": "memory does not declare that tasks survive a restart",
}


def handles_of(module: ModuleType) -> Callable[[Clock], BaseCRUD]:
    """What the contract's fixture would give for a memory backend from this module."""
    backend: Any = module.MemoryCRUD
    storage = backend().storage

    def open_backend(clock: Clock) -> BaseCRUD:
        handle: BaseCRUD = backend(clock=clock)
        vars(handle)["storage"] = storage
        return handle

    return open_backend


def broken(law: str, module: ModuleType) -> str | None:
    """How a backend breaks a law, if it does."""
    try:
        LAWS[law](BackendContract(), handles_of(module))
    except (Exception, pytest.fail.Exception) as error:  # noqa: BLE001 - a mutant may fail in any way
        return f"{type(error).__name__}: {error}"
    return None


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
    module = load_changed(PACKAGE, tmp_path, name, mutant)

    failure = broken(mutant.law, module)
    forget(name)

    assert unchanged is None
    assert failure is not None, f"{mutant.law} does not notice that {mutant.line!r} became {mutant.becomes!r}"


def test_every_law_can_be_broken_by_one_line() -> None:
    """A law that no one-line mutant can break says nothing; the table has at least one for each."""
    watched = {mutant.law for mutant in MUTANTS}

    assert watched <= LAWS.keys(), "the table names laws that do not exist"
    assert LAWS.keys() - watched == NEVER_BROKEN.keys()
    assert len(MUTANTS) >= 30
    assert len(set(MUTANTS)) == len(MUTANTS)


def test_a_line_that_is_not_there_once_is_refused() -> None:
    """A table that is older than the code is an error, never a mutant that changes nothing."""
    mutant = Mutant("file.py", "", "x = 1", "x = 2", "test_x")

    with pytest.raises(ValueError, match="has 0 lines 'x = 1'"):
        changed("y = 1\n", mutant)
    with pytest.raises(ValueError, match="has 2 lines"):
        changed("x = 1\nx = 1\n", mutant)
    assert changed("if y:\n    x = 1\n", mutant) == "if y:\n    x = 2\n"
