"""The annotations of a function, resolved."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any


def hints_of(function: Callable[..., Any], only: str | None = None) -> dict[str, Any]:
    """Return the resolved annotations of *function* by name; with *only*, that one alone if there is one.

    Raises:
        ValueError: one of them cannot be resolved, or not yet.
    """
    annotated: Any = _annotated(function)
    annotations = getattr(annotated, "__annotations__", {})
    if only is not None:  # one that cannot be resolved must not keep another from being read
        annotations = {name: hint for name, hint in annotations.items() if name == only}
    stand_in = SimpleNamespace(
        __annotations__=annotations, __type_params__=getattr(annotated, "__type_params__", ())
    )
    names = getattr(annotated, "__globals__", {})
    try:
        return typing.get_type_hints(stand_in, globalns=names, include_extras=True)
    except Exception as problem:  # an annotation is code of the user's
        raise ValueError(f"an annotation of the function cannot be resolved ({problem})") from problem


def _annotated(function: Any) -> Any:
    """The function below decorators, partial applications and objects that can be called."""
    function = inspect.unwrap(function)
    while isinstance(function, functools.partial):
        function = inspect.unwrap(function.func)
    return function if hasattr(function, "__globals__") else type(function).__call__
