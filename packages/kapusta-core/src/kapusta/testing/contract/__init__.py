"""The laws of the protocol, which every backend is held against."""

from __future__ import annotations

from typing import Any

import pytest

from .._law import check_overrides
from .._stage import OpenBackend, Outage, Server
from ._born_claimed import BornClaimedLaws
from ._cancelling import CancellingLaws
from ._changing import ChangingLaws
from ._claiming import ClaimingLaws
from ._deleting import DeletingLaws
from ._extremes import ExtremeLaws
from ._faults import FaultLaws
from ._fencing import FencingLaws
from ._finding import FindingLaws
from ._keys import UniqueKeyLaws
from ._launching import LaunchingLaws
from ._leasing import LeasingLaws
from ._listening import ListeningLaws
from ._opening import OpeningLaws
from ._ordering import OrderingLaws
from ._outages import OutageLaws
from ._racing import RacingLaws
from ._starting import StartingLaws

__all__ = ["BackendContract", "OpenBackend"]


class BackendContract(
    StartingLaws,
    LaunchingLaws,
    UniqueKeyLaws,
    ClaimingLaws,
    BornClaimedLaws,
    OrderingLaws,
    ChangingLaws,
    FencingLaws,
    LeasingLaws,
    FindingLaws,
    DeletingLaws,
    RacingLaws,
    CancellingLaws,
    ListeningLaws,
    ExtremeLaws,
    OpeningLaws,
    OutageLaws,
    FaultLaws,
):
    """What `BaseCRUD` promises, as tests.

    Subclass it in a test module, and override one fixture::

        class TestMyBackend(BackendContract):
            @pytest.fixture
            def open_backend(self, tmp_path):
                return lambda clock: MyCRUD(tmp_path / "tasks", clock=clock)

    The fixture gives a callable that gives handles, not started, to one storage; the storage is new for each
    test. Three more fixtures are optional, and bring more laws: ``url``, ``outage`` and ``server``. Laws that the protocol gains later arrive with an upgrade. A law that a backend does not keep is
    overridden with ``@pytest.mark.xfail(reason=...)``; any other override fails when the tests are collected.
    """

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        check_overrides(cls, BackendContract)

    @pytest.fixture
    def open_backend(self) -> OpenBackend:
        """Override this: a callable that takes a clock and gives a fresh handle, not started."""
        raise NotImplementedError(f"{type(self).__name__} has to override the fixture open_backend")

    @pytest.fixture
    def url(self) -> str:
        """Override this for a backend that a URL leads to: the URL of the storage of ``open_backend``.

        Put parameters into it if the backend takes any: a twin has to keep them.
        """
        pytest.skip(f"{type(self).__name__} has no fixture url: nothing is opened by a URL")

    @pytest.fixture
    def outage(self) -> Outage:
        """Override this for a backend whose store can be taken away: a callable that gives a context manager.

        In its block the storage of ``open_backend`` is out of reach; afterwards it is back, with its tasks.
        """
        pytest.skip(f"{type(self).__name__} has no fixture outage: no store is taken away")

    @pytest.fixture
    def server(self) -> Server:
        """Override this for a backend on a socket: where its server listens; see `Server`."""
        pytest.skip(f"{type(self).__name__} has no fixture server: nothing is sent over a socket")
