"""The programs that are type-checked use all that there is."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from types import ModuleType
from typing import Final

import pytest

import kapusta
import kapusta.crud
import kapusta.testing
from kapusta import Backoff, Kapusta, Task, TaskHandle
from kapusta._options import LaunchOptions, RegistrationOptions
from kapusta._plugins import NAMES

PROGRAMS: Final = [
    ast.parse(path.read_text())
    for path in (Path(__file__).parents[1] / "typing").glob("*.py")
    if path.stem != "refusals"
]

NODES: Final = [node for program in PROGRAMS for node in ast.walk(program)]
IMPORTED: Final = {alias.name for node in NODES if isinstance(node, ast.ImportFrom) for alias in node.names}
ATTRIBUTES: Final = {node.attr for node in NODES if isinstance(node, ast.Attribute)}
KEYWORDS: Final = {node.arg for node in NODES if isinstance(node, ast.keyword)}


@pytest.mark.parametrize("door", [kapusta, kapusta.testing])
def test_every_name_at_a_door_is_in_a_program_that_is_type_checked(door: object) -> None:
    """A new name comes with its use, as a user would write it."""
    assert set(vars(door)["__all__"]) - IMPORTED == set()


@pytest.mark.parametrize("kind", [Kapusta, Task, TaskHandle])
def test_every_method_is_in_a_program_that_is_type_checked(kind: type[object]) -> None:
    """Of the three things that an application's author holds in hand."""
    public = {name for name in vars(kind) if not name.startswith("_")}

    assert public - ATTRIBUTES == set()


def test_every_option_is_in_a_program_that_is_type_checked() -> None:
    """Those of a Kapusta, of a task and of a launch."""
    options = {*RegistrationOptions.__annotations__, *LaunchOptions.__annotations__}
    constructor = set(Kapusta.__init__.__annotations__) - {"return"}

    assert (options | constructor | set(Backoff.__struct_fields__)) - KEYWORDS == set()


@pytest.mark.parametrize("door", [kapusta, kapusta.crud])
def test_a_type_checker_knows_each_name_that_core_knows_a_distribution_of(door: ModuleType) -> None:
    """`from kapusta import AlchemyCRUD` is as right to it as it is at run time; a name more or less is neither."""
    nodes = ast.walk(ast.parse(inspect.getsource(door)))
    declared = [ast.unparse(node.target) for node in nodes if isinstance(node, ast.AnnAssign)]

    assert declared == list(NAMES)
