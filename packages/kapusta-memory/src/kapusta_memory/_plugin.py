"""What this distribution tells Kapusta of itself."""

from __future__ import annotations

from collections.abc import Sequence

from kapusta.backend import Backend, BaseCRUD, Clock, hookimpl


def _from_url(url: str, clock: Clock | None) -> BaseCRUD:
    from ._urls import open_url

    return open_url(url, clock)


def _memory_crud() -> object:
    from ._crud import MemoryCRUD

    return MemoryCRUD


@hookimpl
def kapusta_backends() -> Sequence[Backend]:
    """The memory backend."""
    return [
        Backend(
            name="memory",
            schemes=("memory",),
            from_url=_from_url,
            exports={"MemoryCRUD": _memory_crud},
        )
    ]
