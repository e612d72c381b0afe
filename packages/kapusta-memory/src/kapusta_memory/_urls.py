"""Which store a ``memory://`` URL leads to."""

from __future__ import annotations

import re
import threading
from typing import Final
from weakref import WeakValueDictionary

from kapusta.backend import BaseCRUD, Clock, StoreUrlError

from ._crud import MemoryCRUD
from ._storage import Storage

_URL: Final = re.compile(r"memory://(?P<name>[\w.-]*)")

# A named store lives as long as a handle to it: what tests have forgotten does not pile up.
_named: Final[WeakValueDictionary[str, Storage]] = WeakValueDictionary()
_lock: Final = threading.Lock()


def open_url(url: str, clock: Clock | None) -> BaseCRUD:
    """A handle, not started: ``memory://`` to a store of its own, ``memory://name`` to the one of that name.

    Raises:
        StoreUrlError: it is not such a URL.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise StoreUrlError(
            url=url,
            problem="is not the address of a store in memory",
            remedy="Write memory:// for a store of its own, or memory://name to share one in this process.",
        )
    handle = MemoryCRUD(clock=clock)
    if name := match["name"]:
        with _lock:
            handle.storage = _named.setdefault(name, handle.storage)
    return handle
