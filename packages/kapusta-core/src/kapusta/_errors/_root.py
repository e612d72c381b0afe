"""The base of all errors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class KapustaError(Exception):
    """Base of all errors of Kapusta."""

    def __reduce__(self) -> tuple[Callable[..., KapustaError], tuple[Any, ...], Any]:
        # An exception is pickled as its class called with its message, which takes facts instead.
        return (_remade, (type(self), *self.args), self.__getstate__())


def _remade(kind: type[KapustaError], *message: str) -> KapustaError:
    error = kind.__new__(kind)
    error.args = message
    return error
