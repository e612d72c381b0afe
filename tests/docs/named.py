"""What a page may name as its witness: the tests of a file, and the laws of the contract."""

from __future__ import annotations

import ast
from functools import cache

from kapusta.testing import BackendContract
from kapusta.testing._law import laws_of
from tests.architecture.tree import ROOT

LAWS = {name for name, _ in laws_of(BackendContract)}


@cache
def names_of(file: str) -> frozenset[str]:
    """The names of the test functions of one file; none if there is no such file."""
    path = ROOT / file
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if path.is_file() else ()
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return frozenset(it.name for it in nodes if isinstance(it, kinds) and it.name.startswith("test_"))
