"""The table of mutants, and one mutant carried out: the memory backend with one line of it, or of its rules, changed."""

from __future__ import annotations

import importlib.util
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Final, NamedTuple

import kapusta_memory
from kapusta.backend import rules

TABLE: Final = Path(__file__).with_suffix(".txt")
MEMORY: Final = Path(kapusta_memory.__file__).parent
RULES: Final = Path(rules.__file__)

_LINE: Final = re.compile(r"(.*?)(?:  \[in (\w+)\])?")


class Mutant(NamedTuple):
    """One line that becomes another, and the law that must then fail.

    Attributes:
        file: the package and the file in it.
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


def load_changed(folder: Path, name: str, mutant: Mutant) -> ModuleType:
    """Copy the memory backend and the rules into *folder*, change one line, and import the copy as *name*.

    What is installed stays as it is: the copy has its own rules put into it, changed or not.
    """
    memory, own_rules = folder / MEMORY.name, folder / RULES.parent.name / RULES.name
    shutil.copytree(MEMORY, memory, ignore=shutil.ignore_patterns("__pycache__"))
    own_rules.parent.mkdir()
    shutil.copy(RULES, own_rules)
    file = folder / mutant.file
    file.write_text(changed(file.read_text(encoding="utf-8"), mutant), encoding="utf-8")
    module = _imported(name, memory / "__init__.py")
    replacement = _imported(f"{rules.__package__}.{name}", own_rules)
    using = [each for each in _named(name) if vars(each).get("rules") is rules]
    if not using:
        raise ImportError("nothing in the memory backend is called rules: its mutants change nothing")
    for each in using:
        vars(each)["rules"] = replacement
    return module


def forget(name: str) -> None:
    """Take what was imported for a mutant out of memory again."""
    for each in _named(name):
        del sys.modules[each.__name__]


def _named(name: str) -> list[ModuleType]:
    return [module for each, module in sys.modules.items() if name in each.split(".")]


def _imported(name: str, file: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ImportError(f"{file} is no module", name=name)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
