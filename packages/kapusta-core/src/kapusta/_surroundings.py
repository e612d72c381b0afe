"""What a Kapusta is given of the program around it, checked: where it logs, and what its children find."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Final

from ._errors import KapustaValueError

_LOGS_BY: Final = ("log", "info", "warning", "error", "exception")
_VARIABLES: Final = 'Write {"LANG": "C"}: every name and every value is text.'


def as_logger(value: logging.Logger | None) -> logging.Logger:
    """*value*, if one can log by it; Kapusta's own for ``None``.

    Raises:
        KapustaValueError: it is something else.
    """
    if value is None:
        return logging.getLogger("kapusta")
    if not all(callable(getattr(value, method, None)) for method in _LOGS_BY):
        raise KapustaValueError(
            option="logger",
            value=value,
            problem="is no logger",
            remedy='Give one, such as logging.getLogger("shop"), or nothing.',
        )
    return value


def as_environment(value: object) -> dict[str, str] | None:
    """*value*, if a process can have it for its variables; ``None`` stays ``None``.

    What stands in it may be secret, so an error says of what type it is.

    Raises:
        KapustaValueError: a process cannot.
    """
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise _bad("process_environment", value, "is no mapping")
    for name, text in value.items():
        option = f"process_environment[{name!r}]"
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise _bad(option, text, "has no name that a variable can have")
        if not isinstance(text, str):
            raise _bad(option, text, "is no text")
        if "\0" in text:
            raise _bad(option, text, "holds NUL, which no variable can")
    return dict(value)


def _bad(option: str, value: object, problem: str) -> KapustaValueError:
    return KapustaValueError(option=option, value=type(value), problem=problem, remedy=_VARIABLES)
