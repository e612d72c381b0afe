"""A stretch of network between a worker and its server: it can be cut, and it can swallow what is sent."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from types import TracebackType
from typing import Final, Self

_CHUNK: Final = 64 << 10


class Proxy:
    """Passes on what comes in at a port of its own; lives on one event loop.

    Attributes:
        port: where to connect.
    """

    def __init__(self, host: str, port: int) -> None:
        self._host, self._target = host, port
        self._flows = asyncio.Event()
        self._flows.set()
        self._connections: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self.port = 0

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()
        for connection in set(self._connections):
            connection.cancel()
        if self._connections:
            await asyncio.wait(self._connections)
        await self._server.wait_closed()

    def cut(self) -> int:
        """Reset every connection, as a firewall that restarts would; answer how many those were."""
        for writer in self._writers:
            writer.transport.abort()
        return len(self._writers) // 2

    def swallow(self) -> None:
        """From now on pass nothing on: connections stay open, and new ones are accepted, into a black hole."""
        self._flows.clear()

    def flow(self) -> None:
        """Pass on again, first what was kept meanwhile: a network delivers late what it has not lost."""
        self._flows.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        self._writers.add(writer)
        onward: asyncio.StreamWriter | None = None
        try:
            await self._flows.wait()
            back, onward = await asyncio.open_connection(self._host, self._target)
            self._writers.add(onward)
            async with asyncio.TaskGroup() as group:
                group.create_task(self._pass_on(reader, onward))
                group.create_task(self._pass_on(back, writer))
        except* (OSError, asyncio.CancelledError):
            pass  # the server is down, or one of the two has gone: so has this connection
        finally:
            self._connections.discard(task)
            for end in (writer, onward):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()

    async def _pass_on(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        while data := await source.read(_CHUNK):
            await self._flows.wait()
            target.write(data)
            await target.drain()
        await self._flows.wait()
        with suppress(OSError):  # the other direction is closed already
            target.write_eof()
