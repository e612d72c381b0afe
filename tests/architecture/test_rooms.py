"""Each file is one idea, named after it, and of a size that can be read at one sitting."""

from __future__ import annotations

import ast
import statistics
from pathlib import Path

from tests.architecture.tree import ROOT, distributions, parsed, python_files, shown

CEILING = 400
MEDIAN = 150
NAMES_OF_NOTHING = {"base", "common", "helper", "helpers", "misc", "shared", "util", "utils"}


def test_no_source_file_is_longer_than_the_ceiling() -> None:
    """A file that passes the ceiling holds a second idea, which wants a file of its own."""
    lengths = {shown(path): _lines(path) for path in python_files("packages", "examples")}

    too_long = {path: lines for path, lines in lengths.items() if lines > CEILING}

    assert too_long == {}


def test_half_of_the_source_files_are_short() -> None:
    """The ceiling is for the exception; the usual file is well below it."""
    lengths = [_lines(path) for distribution in distributions() for path in distribution.files()]

    assert statistics.median(lengths) <= MEDIAN


def test_no_file_or_folder_is_named_after_nothing() -> None:
    """A file called `utils` has no idea of its own, so everything ends there."""
    unnamed = [
        shown(path)
        for path in python_files("packages", "tests", "examples")
        if NAMES_OF_NOTHING & {part.strip("_") for part in path.relative_to(ROOT).with_suffix("").parts}
    ]

    assert unnamed == []


def test_every_source_module_begins_with_its_sentence() -> None:
    """What a file is for is the first thing it says."""
    silent = [
        shown(path)
        for distribution in distributions()
        for path in distribution.files()
        if not ast.get_docstring(parsed(path))
    ]

    assert silent == []


def _lines(path: Path) -> int:
    return len(path.read_text().splitlines())
