"""What this distribution answers to Kapusta's hook; named by the entry point in `pyproject.toml`."""

from collections.abc import Sequence

from kapusta.backend import Backend, BaseCRUD, Clock, hookimpl


def _from_url(url: str, clock: Clock | None) -> BaseCRUD:
    from ._crud import open_url

    return open_url(url, clock)


def _class() -> object:
    from ._crud import JsonFileCRUD

    return JsonFileCRUD


@hookimpl
def kapusta_backends() -> Sequence[Backend]:
    return [
        Backend(name="jsonfile", schemes=("jsonfile",), from_url=_from_url, exports={"JsonFileCRUD": _class})
    ]
