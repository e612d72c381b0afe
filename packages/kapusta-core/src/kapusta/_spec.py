"""One registered function, frozen."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import msgspec

from ._arguments import Arguments
from ._naming import ImportPath
from ._options import TaskOptions


class TaskSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A function and what was said of it at its registration.

    Attributes:
        name: what its tasks are stored under.
        aliases: other names whose stored tasks it runs.
        function: the function itself.
        is_async: whether it is an ``async def`` function.
        arguments: its parameters.
        options: the options of its launches.
        importable: where a child process finds it; ``None`` if it cannot.
    """

    name: str
    aliases: tuple[str, ...]
    function: Callable[..., Any]
    is_async: bool
    arguments: Arguments
    options: TaskOptions
    importable: ImportPath | None


def is_async_function(function: Callable[..., Any]) -> bool:
    """Whether calling *function* gives a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object whose __call__ is async is meant
    )
