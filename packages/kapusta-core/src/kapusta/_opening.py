"""A backend, from an instance or from a URL."""

from __future__ import annotations

from ._crud import BaseCRUD
from ._errors import KapustaValueError


def opened(crud: object) -> BaseCRUD:
    """The backend that *crud* is, or that its URL leads to; not started.

    Raises:
        KapustaValueError: it is neither.
        BackendNotFoundError, MissingPluginError, DuplicateBackendError, MissingDriverError: see `Plugins.from_url`.
    """
    if isinstance(crud, str):
        from ._plugins import installed

        return installed().from_url(crud)
    if not isinstance(crud, BaseCRUD):
        raise KapustaValueError(
            option="crud",
            value=type(crud)
            if isinstance(crud, (bytes, bytearray))
            else crud,  # it may be a URL with a password
            problem="is no BaseCRUD",
            remedy='Give a backend, such as AlchemyCRUD(url), or a URL, such as "sqlite:///tasks.db".',
        )
    return crud
