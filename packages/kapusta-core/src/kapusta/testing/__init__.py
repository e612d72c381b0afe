"""The door of the backend tester and of whoever tests tasks; importing it does not import pytest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _installed  # noqa: F401 - refuses a mixture before anything of it is imported
from ._proxy import Proxy
from ._stage import OpenBackend, Outage, Server
from .clock import ManualClock
from .faulty import FaultKind, FaultyCRUD

if TYPE_CHECKING:
    from .contract import BackendContract

__all__ = [
    "BackendContract",
    "FaultKind",
    "FaultyCRUD",
    "ManualClock",
    "OpenBackend",
    "Outage",
    "Proxy",
    "Server",
]


def __getattr__(name: str) -> object:
    if name != "BackendContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        import pytest
    except ModuleNotFoundError as missing:
        raise ImportError(
            'BackendContract needs pytest. Install it: pip install "kapusta-core[testing]"', name=missing.name
        ) from missing
    # A failing law shows its values, as a failing test of one's own does.
    pytest.register_assert_rewrite(f"{__name__}.contract")
    from .contract import BackendContract

    return BackendContract
