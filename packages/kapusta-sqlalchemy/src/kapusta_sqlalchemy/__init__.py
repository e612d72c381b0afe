"""Kapusta's tasks in a SQL database, through SQLAlchemy.

Nothing heavy is imported until one of these names is asked for, so that looking for plugins stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ._autogenerate import include_object
    from ._crud import AlchemyCRUD
    from ._tables import metadata

__all__ = ["AlchemyCRUD", "include_object", "metadata"]

_HOMES = {"AlchemyCRUD": "_crud", "include_object": "_autogenerate", "metadata": "_tables"}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        home = _HOMES.get(name)
        if home is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from importlib import import_module

        value = getattr(import_module(f"{__name__}.{home}"), name)
        globals()[name] = value
        return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
