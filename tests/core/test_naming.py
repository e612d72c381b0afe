"""A function's stored name and its import path."""

from __future__ import annotations

import functools
import json
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kapusta import NotImportableError, TaskSignatureError
from kapusta._naming import ImportPath, import_path, stored_name


def top() -> None:
    """At the top of a module."""


class House:
    """With a task in it."""

    @staticmethod
    def clean() -> None:
        """In a class."""


class Callable_:  # noqa: N801 - it stands for an instance
    """Called like a function."""

    def __call__(self) -> None:
        """Does nothing."""


def nested() -> Callable[[], None]:
    """Make a function that nobody else can find."""

    def inner() -> None: ...

    return inner


@functools.wraps(top)
def wrapped() -> None:
    """A decorated one, which goes by the name of what it wraps."""


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (top, f"{__name__}.top"),
        (House.clean, f"{__name__}.House.clean"),
        (nested(), f"{__name__}.nested.<locals>.inner"),
        (lambda: None, f"{__name__}.<lambda>"),
        (wrapped, f"{__name__}.top"),
        (json.dumps, "json.dumps"),
    ],
)
def test_a_task_is_stored_as_module_and_qualified_name(function: Callable[..., Any], name: str) -> None:
    """The name that other processes look for."""
    assert stored_name(function) == name


@pytest.mark.parametrize("function", [functools.partial(top), Callable_()])
def test_what_has_no_name_is_asked_for_one(function: Callable[..., Any]) -> None:
    """A partial has none of its own, and its address would be another one in every process."""
    with pytest.raises(TaskSignatureError, match="Give it one with name="):
        stored_name(function)


@pytest.mark.parametrize(
    ("function", "qualname"), [(top, "top"), (House.clean, "House.clean"), (wrapped, "top")]
)
def test_a_function_at_the_top_of_a_module_is_found_by_its_path(
    function: Callable[..., Any], qualname: str
) -> None:
    """A child imports the module and goes down the path."""
    assert import_path(function, task="t") == ImportPath(__name__, qualname)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda: None, "it is a lambda"),
        (nested(), "it is not defined at the top of a module"),
        (functools.partial(top), "it is not defined at the top of a module"),
    ],
)
def test_what_another_process_cannot_import_is_refused(function: Callable[..., Any], words: str) -> None:
    """In words, when mode ``process`` is asked for, and not by a child that dies of it."""
    with pytest.raises(NotImportableError) as caught:
        import_path(function, task="t")

    assert (caught.value.task, caught.value.mode) == ("t", "process")
    assert words in str(caught.value)
    assert "at the top of a module" in caught.value.remedy


PROGRAM = textwrap.dedent(
    """
    from kapusta import NotImportableError
    from kapusta._naming import import_path, stored_name

    def work(): ...

    def place():
        try:
            return import_path(work, task="t")
        except NotImportableError as error:
            return error.problem

    if __name__ == "__main__":
        print(stored_name(work), "|", place())
    """
)


@pytest.mark.parametrize(
    ("command", "name", "place"),
    [
        (
            ["billing.py"],
            "billing.work",
            "ImportPath(module='billing', qualname='work', file='{folder}/billing.py')",
        ),
        (["-m", "billing"], "billing.work", "ImportPath(module='billing', qualname='work', file=None)"),
        (
            ["-m", "shop"],
            "shop.__main__.work",
            "ImportPath(module='shop.__main__', qualname='work', file=None)",
        ),
        (
            ["-m", "shop.tasks"],
            "shop.tasks.work",
            "ImportPath(module='shop.tasks', qualname='work', file=None)",
        ),
        (
            ["-c", PROGRAM],
            "__main__.work",
            "it was defined at a prompt, and another process could not import it",
        ),
    ],
    ids=["file", "module", "package", "module of a package", "prompt"],
)
def test_a_function_of_the_program_is_named_as_if_imported(
    tmp_path: Path, command: list[str], name: str, place: str
) -> None:
    """``python billing.py`` and a worker that imports ``billing`` mean the same task."""
    for file in ("billing.py", "shop/__main__.py", "shop/tasks.py"):
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(PROGRAM)

    ran = subprocess.run(
        [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )

    assert ran.stdout.strip() == f"{name} | {place.format(folder=tmp_path)}"
