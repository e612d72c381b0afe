"""A store behind a socket, which is no database, under the contract; and what its fault laws notice."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from kapusta.backend import Added, ClaimRequest, Claims, NewTask, StoreUnavailableError, WakeKind
from kapusta.testing import BackendContract, OpenBackend, Server
from kapusta.testing._law import laws_of
from kapusta.testing.contract import _faults
from tests.contract.wire import LIMIT, WireCRUD, WireServer

LAWS = dict(laws_of(BackendContract))


@pytest.fixture
def wire_server() -> Iterator[WireServer]:
    """A server with an empty store."""
    with WireServer() as server:
        yield server


def reached(server: WireServer, kind: type[WireCRUD] = WireCRUD) -> Server:
    """What the contract wants to know of it."""
    return Server(
        host="127.0.0.1",
        port=server.port,
        open_through=lambda port, clock: kind(port, clock=clock),
    )


class TestWire(BackendContract):
    """Handles to one server."""

    @pytest.fixture
    def open_backend(self, wire_server: WireServer) -> OpenBackend:
        """A callable that gives handles to a new server."""
        return lambda clock: WireCRUD(wire_server.port, clock=clock)

    @pytest.fixture
    def server(self, wire_server: WireServer) -> Server:
        """The server itself."""
        return reached(wire_server)


class RawErrorsCRUD(WireCRUD):
    """Lets the errors of the socket through."""

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port, limit=LIMIT)


class OneByOneCRUD(WireCRUD):
    """Stores a batch by one request for each task."""

    async def add_tasks(self, tasks: Sequence[NewTask]) -> Sequence[Added]:
        added: list[Added] = []
        for task in tasks:
            added += await super().add_tasks([task])
        return added


class RepeatsClaimsCRUD(WireCRUD):
    """Repeats a claim without a reply by itself, so that nobody knows what the first one has claimed."""

    async def claim_tasks(self, request: ClaimRequest) -> Claims:
        try:
            return await super().claim_tasks(request)
        except StoreUnavailableError:
            return await super().claim_tasks(request)


class ForgetsItsRunCRUD(WireCRUD):
    """Settles with another worker's id each time, so that a repeat is refused."""

    async def ask(self, operation: str, given: Any) -> Any:
        answers = await super().ask(operation, given)
        if operation == "change_tasks":
            return [each.replace(answer="refused") if each.answer == "already" else each for each in answers]
        return answers


class OneConnectionCRUD(WireCRUD):
    """Has one connection for ever, broken or not."""

    kept: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def exchange(self, request: bytes, read: Callable[[asyncio.StreamReader], Any]) -> Any:
        self.kept = self.kept or await self.connect()
        try:
            self.kept[1].write(request)
            return await read(self.kept[0])
        except OSError as error:
            raise StoreUnavailableError(operation="ask", problem=str(error)) from error


class WaitsForRepliesCRUD(WireCRUD):
    """Waits for its reply however often it is cancelled."""

    async def ask(self, operation: str, given: object) -> Any:
        doing = asyncio.ensure_future(super().ask(operation, given))
        while not doing.done():
            try:
                await asyncio.shield(doing)
            except asyncio.CancelledError:
                continue
            except StoreUnavailableError:
                break
        return await doing


class HearsOnceCRUD(WireCRUD):
    """Listens until its connection is lost."""

    @asynccontextmanager
    async def listen(self, wake: Callable[[WakeKind], None]) -> AsyncIterator[None]:
        ready = asyncio.Event()
        task = asyncio.ensure_future(
            self.exchange(b"listen\n", lambda reader: self.pass_on(reader, wake, ready))
        )
        await ready.wait()
        yield
        task.cancel()
        await asyncio.wait([task])


@pytest.mark.parametrize(
    ("kind", "law"),
    [
        (RawErrorsCRUD, "test_without_a_server_every_operation_says_unavailable"),
        (RawErrorsCRUD, "test_a_start_without_a_server_can_be_repeated"),
        (OneByOneCRUD, "test_a_launch_that_was_cut_off_is_stored_whole_or_not"),
        (RepeatsClaimsCRUD, "test_a_claim_that_was_cut_off_is_found_by_its_worker"),
        (ForgetsItsRunCRUD, "test_a_settlement_that_was_cut_off_is_accepted_once"),
        (OneConnectionCRUD, "test_after_each_cut_the_handle_works_again"),
        (WaitsForRepliesCRUD, "test_a_server_that_says_nothing_holds_up_no_cancelled_caller"),
        (HearsOnceCRUD, "test_a_listener_whose_connection_was_lost_hears_again"),
    ],
)
def test_a_store_that_is_no_database_breaks_each_law_of_faults(
    kind: type[WireCRUD], law: str, wire_server: WireServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What goes wrong only when a network fails is noticed, in a store that no table of SQL mutants covers."""
    monkeypatch.setattr(_faults, "PATIENCE", 1)

    with pytest.raises((AssertionError, OSError, TimeoutError)) as failure:
        LAWS[law](
            BackendContract(),
            lambda clock: WireCRUD(wire_server.port, clock=clock),
            server=reached(wire_server, kind),
        )

    assert "If it fails: " in failure.value.__notes__[0]


def test_each_law_of_faults_is_broken_by_a_store_that_is_no_database() -> None:
    """None is left out above."""
    (mark,) = test_a_store_that_is_no_database_breaks_each_law_of_faults.pytestmark  # type: ignore[attr-defined]  # pytest's

    assert {law for _, law in mark.args[1]} == {name for name, _ in laws_of(_faults.FaultLaws)}
