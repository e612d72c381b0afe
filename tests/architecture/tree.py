"""The repository as data: its distributions, its files, and what each file imports."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, kw_only=True)
class Distribution:
    """One folder with a `pyproject.toml` that is published, or could be.

    Attributes:
        folder: Where it is.
        metadata: The `[project]` table.
        package: The name of its one import package.
    """

    folder: Path
    metadata: dict[str, Any]
    package: str

    @property
    def name(self) -> str:
        """Its name on the package index."""
        return str(self.metadata["name"])

    @property
    def source(self) -> Path:
        """The folder of its import package."""
        return self.folder / "src" / self.package

    def files(self) -> list[Path]:
        """Return its modules."""
        return sorted(self.source.rglob("*.py"))

    def module(self, path: Path) -> str:
        """Return the name under which one of its files is imported."""
        parts = path.relative_to(self.folder / "src").with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def distributions(*patterns: str) -> list[Distribution]:
    """Return the distributions of the repository, those in packages/ unless told otherwise."""
    found = []
    for pattern in patterns or ("packages/*",):
        for file in sorted(ROOT.glob(f"{pattern}/pyproject.toml")):
            (package,) = [path.parent.name for path in file.parent.glob("src/*/__init__.py")]
            metadata = tomllib.loads(file.read_text())["project"]
            found.append(Distribution(folder=file.parent, metadata=metadata, package=package))
    return found


def python_files(*folders: str) -> list[Path]:
    """Return every Python file below these folders of the repository."""
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


def shown(path: Path, line: int | None = None) -> str:
    """Return a file, and a line of it, as a reader looks for it."""
    place = path.relative_to(ROOT).as_posix()
    return place if line is None else f"{place}:{line}"


@cache
def parsed(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text(), filename=str(path))


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Give the dotted name and the line of everything a file imports from elsewhere.

    `from a.b import c` gives `a.b.c`, because `c` may be a module. Relative imports stay inside the file's own
    package and are not given.
    """
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from ((name.name, node.lineno) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from ((f"{node.module}.{name.name}", node.lineno) for name in node.names)
