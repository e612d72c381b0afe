"""The table of mutants, and one mutant carried out: the backend with one line changed."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

TABLE: Final = Path(__file__).with_suffix(".txt")

_LINE: Final = re.compile(r"(.*?)(?:  \[in (\w+)\])?")


class Mutant(NamedTuple):
    """One line that becomes another, and the law that must then fail.

    Attributes:
        function: the function after whose first line the line is looked for; empty: anywhere.
    """

    file: str
    function: str
    line: str
    becomes: str
    law: str


def read_table(text: str) -> list[Mutant]:
    """The mutants of a table, which says by its indentation what is what."""
    mutants = []
    file = line = becomes = ""
    for row in text.splitlines():
        if row.startswith("== "):
            file = row.removeprefix("== ")
        elif row.startswith(" " * 8):
            bare, function = _LINE.fullmatch(line).groups("")  # type: ignore[union-attr]  # it fits any text
            law = "test_" + row.strip().replace(" ", "_")
            mutants.append(Mutant(file, function, bare, becomes, law))
        elif row.startswith(" " * 4):
            becomes = row.strip().replace("(nothing)", "")
        elif row and not row.startswith("#"):
            line = row
    return mutants


def changed(source: str, mutant: Mutant) -> str:
    """The source of a file with the mutant's line changed.

    Raises:
        ValueError: the line is not there exactly once, so the table is older than the file.
    """
    lines = source.splitlines()
    start = 0
    if mutant.function:
        start = next(n for n, line in enumerate(lines) if line.lstrip().startswith(f"def {mutant.function}("))
    places = [n for n, line in enumerate(lines) if n >= start and line.strip() == mutant.line]
    if len(places) != 1 and not mutant.function:
        raise ValueError(
            f"{mutant.file} has {len(places)} lines {mutant.line!r}; the table needs exactly one"
        )
    place = places[0]
    indentation = lines[place][: len(lines[place]) - len(lines[place].lstrip())]
    lines[place] = indentation + mutant.becomes
    return "\n".join(lines) + "\n"


def load_changed(package: Path, folder: Path, name: str, mutant: Mutant) -> ModuleType:
    """Copy a package into *folder*, change one line, and import it there as *name*."""
    copy = folder / name
    shutil.copytree(package, copy, ignore=shutil.ignore_patterns("__pycache__"))
    file = copy / mutant.file
    file.write_text(changed(file.read_text(encoding="utf-8"), mutant), encoding="utf-8")
    spec = importlib.util.spec_from_file_location(
        name, copy / "__init__.py", submodule_search_locations=[str(copy)]
    )
    if spec is None or spec.loader is None:
        raise ImportError(f"{copy} is no package", name=name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def forget(name: str) -> None:
    """Take an imported package out of memory again."""
    for each in [each for each in sys.modules if each == name or each.startswith(f"{name}.")]:
        del sys.modules[each]
