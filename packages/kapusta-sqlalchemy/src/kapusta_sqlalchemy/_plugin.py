"""What this distribution answers to Kapusta's hook."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kapusta.backend import Backend, BaseCRUD, Clock, hookimpl

if TYPE_CHECKING:
    from ._crud import AlchemyCRUD


def _load() -> type[AlchemyCRUD]:
    from ._crud import AlchemyCRUD

    return AlchemyCRUD


def _from_url(url: str, clock: Clock | None) -> BaseCRUD:
    from ._crud import require_driver

    crud = _load()(url, clock=clock)
    require_driver(url)  # as a plugin is missing where its URL is used, so is a driver
    return crud


@hookimpl
def kapusta_backends() -> list[Backend]:
    return [
        Backend(
            name="sqlalchemy",
            schemes=(
                "sqlite",
                "sqlite+aiosqlite",
                "postgresql",
                "postgresql+asyncpg",
                "mysql",
                "mysql+aiomysql",
                "mariadb",
                "mariadb+aiomysql",
            ),
            from_url=_from_url,
            exports={"AlchemyCRUD": _load},
        )
    ]
