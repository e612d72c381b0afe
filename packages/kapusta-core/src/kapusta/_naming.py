"""A function's stored name and its import path."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

from ._enums import TaskExecutionMode
from ._errors import NotImportableError, TaskSignatureError


class ImportPath(msgspec.Struct, frozen=True):
    """Where another process finds a function.

    Attributes:
        module: the module to import.
        qualname: the path to the function, or to its task, within the module.
        file: the file to load the module from, where it is the program that was started.
    """

    module: str
    qualname: str
    file: str | None = None


def module_of(function: Callable[..., Any]) -> str:
    """The module that *function* would be imported from, even if it was defined in ``__main__``."""
    module = getattr(function, "__module__", None) or "__main__"
    if module != "__main__":
        return str(module)
    main = sys.modules["__main__"]
    if main.__spec__ is not None:
        return main.__spec__.name
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else "__main__"


def stored_name(function: Callable[..., Any]) -> str:
    """The name that a task is stored under unless it is given one: ``module.qualname``.

    Raises:
        TaskSignatureError: *function* has no name of its own.
    """
    qualname = getattr(function, "__qualname__", None)
    if not isinstance(qualname, str):
        raise TaskSignatureError(
            task=repr(function), problem="has no name to be stored under", remedy="Give it one with name=."
        )
    return f"{module_of(function)}.{qualname}"


def import_path(function: Callable[..., Any], *, task: str) -> ImportPath:
    """Where a child process finds *function*.

    Raises:
        NotImportableError: it cannot: a lambda, a nested function, or one typed at a prompt.
    """
    qualname = getattr(function, "__qualname__", None)
    module = module_of(function)
    if qualname is None or "<lambda>" in qualname or "<locals>" in qualname:
        kind = (
            "a lambda" if qualname and qualname.endswith("<lambda>") else "not defined at the top of a module"
        )
        raise NotImportableError(
            task=task,
            mode=TaskExecutionMode.process,
            problem=f"it is {kind}, and another process could not import it",
            remedy="Define it with `def` at the top of a module.",
        )
    if module == "__main__":
        raise NotImportableError(
            task=task,
            mode=TaskExecutionMode.process,
            problem="it was defined at a prompt, and another process could not import it",
            remedy="Put it into a module.",
        )
    return ImportPath(module, qualname, _program_file(function))


def importable(function: Callable[..., Any], *, task: str, needed: bool) -> ImportPath | None:
    """Where a child process finds *function*; ``None`` if it cannot, and need not.

    Raises:
        NotImportableError: it cannot, and is *needed*.
    """
    try:
        return import_path(function, task=task)
    except NotImportableError:
        if needed:
            raise
        return None


def _program_file(function: Callable[..., Any]) -> str | None:
    main = sys.modules["__main__"]
    if function.__module__ != "__main__" or main.__spec__ is not None:
        return None
    file = getattr(main, "__file__", None)
    return str(Path(file).resolve()) if file else None
