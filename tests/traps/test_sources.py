"""Traps that are seen in the sources: what must not be written at all."""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture.tree import distributions, parsed, shown

SPAWNS = {"create_task", "ensure_future", "run_coroutine_threadsafe"}
FILES = [file for distribution in distributions() for file in distribution.files()]


def dropped(tree: ast.AST) -> Iterator[int]:
    """The lines of asyncio tasks that nobody holds on to; those of a `TaskGroup` named `group` are held by it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            function = node.value.func
            name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
            owner = getattr(getattr(function, "value", None), "id", "")
            if name in SPAWNS and owner != "group":
                yield node.lineno


def hashed(tree: ast.AST) -> Iterator[int]:
    """The lines that call `hash()`, but for those that define one."""
    definitions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    exempt = {it for node in definitions if node.name == "__hash__" for it in ast.walk(node)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "hash" and node not in exempt:
            yield node.lineno


def articled(tree: ast.AST) -> Iterator[int]:
    """The lines of messages that put an article before the name of a type, which may be an `int` or a `str`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            for before, value in itertools.pairwise(node.values):
                article = isinstance(before, ast.Constant) and re.search(r"\b[Aa]n? '?$", str(before.value))
                if article and "__name__" in ast.unparse(value):
                    yield node.lineno


def test_no_asyncio_task_is_made_and_forgotten() -> None:
    """The event loop itself keeps none alive: what is not held may be collected while it waits."""
    assert [shown(path, line) for path in FILES for line in dropped(parsed(path))] == []


def test_nothing_that_is_stored_or_compared_comes_from_hash() -> None:
    """`hash()` of a text is another number in each process, so it can be no key that two of them share."""
    assert [shown(path, line) for path in FILES for line in hashed(parsed(path))] == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("asyncio.create_task(f())", 1),
        ("loop.create_task(f())", 1),
        ("asyncio.ensure_future(f())", 1),
        ("task = asyncio.create_task(f())", 0),
        ("group.create_task(f())", 0),
    ],
)
def test_a_forgotten_task_is_found(source: str, expected: int) -> None:
    """The rule above sees what it is to see, and only that."""
    assert len(list(dropped(ast.parse(source)))) == expected


def test_no_message_puts_an_article_before_the_name_of_a_type() -> None:
    """Which one is right depends on the name: "of type int" is right for all."""
    assert [shown(path, line) for path in FILES for line in articled(parsed(path))] == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("key = hash(text)", 1),
        ("class A:\n    def __hash__(self):\n        return hash(self.a)", 0),
        ("sha256(text)", 0),
    ],
)
def test_a_hash_is_found(source: str, expected: int) -> None:
    """Likewise."""
    assert len(list(hashed(ast.parse(source)))) == expected


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("f'is a {type(it).__name__}, no text'", 1),
        ("f'is an {kind.__name__}'", 1),
        ("f'is of type {type(it).__name__}'", 0),
        ("f'a {number}'", 0),
    ],
)
def test_an_article_is_found(source: str, expected: int) -> None:
    """Likewise."""
    assert len(list(articled(ast.parse(source)))) == expected


def test_the_rules_look_at_all_sources() -> None:
    """A folder that has moved would be looked at no more."""
    assert {Path(shown(path)).parts[1] for path in FILES} == {
        "kapusta-core",
        "kapusta-memory",
        "kapusta-sqlalchemy",
    }
