"""What this distribution tells Kapusta of itself; `pyproject.toml` names this module as an entry point."""

from collections.abc import Callable, Sequence
from urllib.parse import unquote, urlsplit

from kapusta.backend import Backend, BaseCRUD, Clock, StoreUrlError, hookimpl


@hookimpl
def kapusta_backends() -> Sequence[Backend]:
    return [Backend(name="jsonfile", schemes=("jsonfile",), from_url=_open, exports={"JsonFileCRUD": _load})]


def _open(url: str, clock: Clock | None) -> BaseCRUD:
    parts = urlsplit(url)
    if parts.netloc or parts.query or not parts.path.strip("/"):
        remedy = "Write jsonfile:///var/lib/app/tasks.json: three slashes, then the path from the root."
        raise StoreUrlError(url=url, problem="is not the path of a file", remedy=remedy)
    return _load()(unquote(parts.path), clock=clock)


def _load() -> Callable[..., BaseCRUD]:
    # Every installed plugin is imported to ask what it offers; its engine waits until it is chosen.
    from ._crud import JsonFileCRUD

    return JsonFileCRUD
