"""A store behind a socket that is not a database: lines of JSON to a server that keeps its tasks in memory."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any, Self

from kapusta.backend import (
    Added,
    BaseCRUD,
    Capabilities,
    Change,
    Changed,
    ClaimRequest,
    Claims,
    Clock,
    NewTask,
    Renewed,
    RenewRequest,
    StoredTask,
    StoreNotStartedError,
    StoreUnavailableError,
    SystemClock,
    TaskQuery,
    WakeKind,
    from_json,
    to_json,
)
from kapusta_memory import MemoryCRUD

LIMIT = 1 << 26
SHAPES: dict[str, tuple[Any, Any]] = {
    "add_tasks": (list[NewTask], list[Added]),
    "claim_tasks": (ClaimRequest, Claims),
    "change_tasks": (list[Change], list[Changed]),
    "renew_leases": (RenewRequest, list[Renewed]),
    "find_tasks": (TaskQuery, list[StoredTask]),
    "delete_tasks": (list[int], int),
}


class GivenClock(SystemClock):
    """The time that a request brings with it."""

    def __init__(self) -> None:
        self.given: datetime | None = None

    def now(self) -> datetime:
        return self.given or super().now()


class WireServer:
    """Serves one store, on a loop and in a thread of its own."""

    def __init__(self) -> None:
        self.port = 0
        self._first = MemoryCRUD()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._serving: set[asyncio.Task[None]] = set()

    def __enter__(self) -> Self:
        self._thread.start()
        self._do(self._open())
        return self

    def __exit__(self, *_: object) -> None:
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _do(self, work: Any) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, limit=LIMIT)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        self._server.close()
        # A connection that is just being accepted is served by a task that comes up in the next turns of the loop.
        for _ in range(10):
            for task in self._serving:
                task.cancel()
            await asyncio.sleep(0)
        await asyncio.gather(*self._serving, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._serve(reader, writer))
        self._serving.add(task)
        task.add_done_callback(self._serving.discard)
        task.add_done_callback(lambda _: writer.transport.abort())

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        clock = GivenClock()
        handle = MemoryCRUD(clock=clock)
        handle.storage = self._first.storage
        await handle.startup()
        with suppress(OSError):
            while line := await reader.readline():
                operation, _, rest = line.partition(b" ")
                if operation == b"hello\n":
                    writer.write(b"\n")
                    continue
                if operation == b"listen\n":
                    with handle.storage.listeners.added(self, lambda kind: self._tell(writer, kind)):
                        writer.write(b"\n")
                        await reader.read()
                    return
                now, _, body = rest.partition(b" ")
                clock.given = datetime.fromisoformat(now.decode())
                given = from_json(body, SHAPES[operation.decode()][0])
                writer.write(to_json(await getattr(handle, operation.decode())(given)) + b"\n")
                await writer.drain()

    @staticmethod
    def _tell(writer: asyncio.StreamWriter, kind: WakeKind) -> None:
        writer.write(kind.encode() + b"\n")


class WireCRUD(BaseCRUD):
    """A handle: a connection for each operation, so none is ever found broken."""

    protocol = 1
    capabilities = Capabilities(pushes_wakeups=True, shared_between_processes=True)

    def __init__(self, port: int, *, clock: Clock | None = None) -> None:
        super().__init__(clock=clock)
        self.port = port
        self.loop: asyncio.AbstractEventLoop | None = None

    async def startup(self) -> None:
        self.refuse_elsewhere()
        await self.exchange(b"hello\n", asyncio.StreamReader.readline)
        self.loop = asyncio.get_running_loop()

    async def shutdown(self) -> None:
        self.refuse_elsewhere()
        self.loop = None

    def twin(self) -> WireCRUD:
        return type(self)(self.port, clock=self.clock)

    async def add_tasks(self, tasks: Sequence[NewTask]) -> Sequence[Added]:
        return await self.ask("add_tasks", tasks)

    async def claim_tasks(self, request: ClaimRequest) -> Claims:
        return await self.ask("claim_tasks", request)

    async def change_tasks(self, changes: Sequence[Change]) -> Sequence[Changed]:
        return await self.ask("change_tasks", changes)

    async def renew_leases(self, request: RenewRequest) -> Sequence[Renewed]:
        return await self.ask("renew_leases", request)

    async def find_tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        return await self.ask("find_tasks", query)

    async def delete_tasks(self, ids: Sequence[int]) -> int:
        return await self.ask("delete_tasks", ids)

    @asynccontextmanager
    async def listen(self, wake: Callable[[WakeKind], None]) -> AsyncIterator[None]:
        self.require_start()
        ready = asyncio.Event()
        task = asyncio.ensure_future(self.hear(wake, ready))
        await ready.wait()
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def hear(self, wake: Callable[[WakeKind], None], ready: asyncio.Event) -> None:
        """Connect again and again, and pass on what is told."""
        while True:
            with suppress(StoreUnavailableError):
                await self.exchange(b"listen\n", lambda reader: self.pass_on(reader, wake, ready))
            await asyncio.sleep(0.01)

    async def pass_on(
        self, reader: asyncio.StreamReader, wake: Callable[[WakeKind], None], ready: asyncio.Event
    ) -> None:
        while line := await reader.readline():
            ready.set()
            if kind := line.decode().strip():
                wake(kind)  # type: ignore[arg-type]  # the server says nothing else

    def refuse_elsewhere(self) -> None:
        if self.loop and self.loop.is_running() and self.loop is not asyncio.get_running_loop():
            raise StoreNotStartedError(backend="WireCRUD", elsewhere=True)

    def require_start(self) -> None:
        if self.loop is not asyncio.get_running_loop():
            raise StoreNotStartedError(backend="WireCRUD", elsewhere=self.loop is not None)

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            return await asyncio.open_connection("127.0.0.1", self.port, limit=LIMIT)
        except OSError as error:
            raise StoreUnavailableError(operation="connect", problem=str(error)) from error

    async def ask(self, operation: str, given: object) -> Any:
        self.require_start()
        request = b" ".join([operation.encode(), self.clock.now().isoformat().encode(), to_json(given)])
        line = await self.exchange(request + b"\n", asyncio.StreamReader.readline)
        if not line.endswith(b"\n"):
            raise StoreUnavailableError(operation=operation, problem="the connection ended before the reply")
        return from_json(line, SHAPES[operation][1])

    async def exchange(self, request: bytes, read: Callable[[asyncio.StreamReader], Awaitable[Any]]) -> Any:
        """Send a request on a new connection, and read from it."""
        reader, writer = await self.connect()
        try:
            writer.write(request)
            return await read(reader)
        except OSError as error:
            raise StoreUnavailableError(operation="ask", problem=str(error)) from error
        finally:
            writer.transport.abort()
