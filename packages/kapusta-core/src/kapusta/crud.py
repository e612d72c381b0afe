"""The names that 0.1.5 had in ``kapusta.crud``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ._crud import BaseCRUD

__all__ = ["BaseCRUD"]

if TYPE_CHECKING:  # what a plugin exports, as far as it is known here; its own package knows its options
    AlchemyCRUD: Callable[..., BaseCRUD]
    MemoryCRUD: Callable[..., BaseCRUD]
else:

    def __getattr__(name: str) -> Any:
        """``from kapusta.crud import AlchemyCRUD``, when a plugin exports it."""
        if name.startswith("_"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from ._plugins import export

        return export(name, module=__name__)
