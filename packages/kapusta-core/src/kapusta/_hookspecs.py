"""What a plugin may answer."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import msgspec
import pluggy

from ._clock import Clock
from ._crud import BaseCRUD

PROJECT: Final = "kapusta"
"""The pluggy project, and the entry-point group that plugins register under."""

SCHEME: Final = re.compile(r"[\w.+-]+")
"""What may stand before the ``://`` of a URL."""

F = TypeVar("F", bound=Callable[..., object])

_spec = pluggy.HookspecMarker(PROJECT)


def hookimpl(function: F) -> F:
    """Mark a function of a plugin module as its answer to the hook of the same name."""
    return pluggy.HookimplMarker(PROJECT)(function)


class Backend(msgspec.Struct, frozen=True, kw_only=True):
    """A kind of store that a plugin provides.

    Attributes:
        name: its name, for people: ``"sqlalchemy"``.
        schemes: the URL schemes that lead to it: ``("sqlite", "sqlite+aiosqlite")``.
        from_url: makes a handle, not started, from a URL of one of the schemes and a clock (``None``: real
            time). Engines are imported here, not when the plugin is.
        exports: names that ``from kapusta import NAME`` gives, each with what loads it.
    """

    name: str
    schemes: tuple[str, ...]
    from_url: Callable[[str, Clock | None], BaseCRUD]
    exports: dict[str, Callable[[], object]] = {}

    def __post_init__(self) -> None:
        schemes: object = self.schemes
        if isinstance(schemes, str):
            raise TypeError(
                f"Backend(schemes={schemes!r}) is text. Write a tuple, with its comma: ({schemes!r},)"
            )
        for scheme in self.schemes:
            if not SCHEME.fullmatch(scheme):
                raise ValueError(f"Backend(schemes=...) holds {scheme!r}. Write what stands before '://'")


@_spec
def kapusta_backends() -> Sequence[Backend]:  # type: ignore[empty-body]  # a hook specification has none
    """The backends of this plugin.

    A plugin is a module named by an entry point of the group ``kapusta``. Importing it should be cheap.
    """
