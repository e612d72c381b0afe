"""A network that fails when it is told to: a proxy on loopback, between a client and its server."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from types import TracebackType
from typing import Final, Self, cast

_CHUNK: Final = 1 << 16


class Proxy:
    """A network that works until a test says otherwise; lives on the loop that entered it.

    Enter it with ``async with Proxy(host, port) as proxy``, and connect to 127.0.0.1, port ``proxy.port``.

    Attributes:
        target: host and port that new connections lead to.
        port: where it listens, on 127.0.0.1.
        accepted: how many connections it has accepted so far.
        delivered: how many bytes of answers it has delivered so far.
    """

    def __init__(self, host: str, port: int) -> None:
        self.target = host, port
        self.port = 0
        self.accepted = 0
        self.delivered = 0
        self._server: asyncio.Server | None = None
        self._pipes: set[_Pipe] = set()
        self._flows = asyncio.Event()
        self._flows.set()
        self._hangs_up = False
        self._losses: list[_Loss] = []

    async def __aenter__(self) -> Self:
        await self.accept()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.refuse()
        await self.drop()

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._pipes)

    # --- what can happen to a network ---------------------------------------------------------------

    async def accept(self) -> None:
        """Accept connections, again on the same port; this is how it begins."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, "127.0.0.1", self.port, limit=_CHUNK)
            self.port = self._server.sockets[0].getsockname()[1]

    async def hang_up(self) -> None:
        """End all connections, and each new one as soon as it is there, as a server does that goes down or comes up."""
        self._hangs_up = True
        await self.drop()

    def pick_up(self) -> None:
        """Let new connections be again."""
        self._hangs_up = False

    async def refuse(self) -> None:
        """Refuse new connections, as a host does where no server runs; open ones go on."""
        if self._server is not None:
            self._server.close()
            self._server = None

    async def drop(self) -> None:
        """End all open connections at once, as a server does that is killed."""
        tasks = [pipe.break_off() for pipe in self._pipes]
        await asyncio.gather(*tasks, return_exceptions=True)

    def hold(self) -> None:
        """Deliver nothing: connections stay open, new ones are made, and nobody hears anything."""
        self._flows.clear()

    def flow(self) -> None:
        """Deliver again, first of all what was held."""
        self._flows.set()

    def strand(self) -> None:
        """Deliver nothing more on the connections that are open, ever: as where a firewall has forgotten them."""
        for pipe in self._pipes:
            pipe.is_stranded = True

    async def cut(self) -> None:
        """Drop what is open, and refuse what comes: the server is not there."""
        await self.refuse()
        await self.drop()

    def lose_request(self, to: bytes = b"", *, skip: int = 0) -> asyncio.Event:
        """Once, end a connection instead of delivering a request that contains *to*; *skip* such requests first.

        A request is what arrives in one piece. The event is set when the connection has ended.
        """
        return self._plan(_Loss(to, skip, delivers=False))

    def lose_reply(self, to: bytes = b"", *, skip: int = 0) -> asyncio.Event:
        """Once, deliver a request that contains *to*, swallow the reply, and end that connection.

        *skip* such requests are left alone first. The event is set when the server has replied, so the request
        has been carried out.
        """
        return self._plan(_Loss(to, skip, delivers=True))

    def lose_nothing(self) -> None:
        """Drop the losses that were planned and have not happened."""
        self._losses.clear()

    def _plan(self, loss: _Loss) -> asyncio.Event:
        self._losses.append(loss)
        return loss.happened

    # --- how ----------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = cast("asyncio.Task[None]", asyncio.current_task())
        pipe = _Pipe(task, writer)
        self._pipes.add(pipe)
        try:
            if self._hangs_up:
                return
            await self._flows.wait()
            answers, server = await asyncio.open_connection(*self.target, limit=_CHUNK)
            pipe.server = server
            async with asyncio.TaskGroup() as group:
                group.create_task(self._requests(pipe, reader, server))
                group.create_task(self._answers(pipe, answers))
        except* (OSError, _EndOfStream):
            pass  # one side has ended, and so does the other
        except* asyncio.CancelledError:
            pass  # `drop`
        finally:
            self._pipes.discard(pipe)
            pipe.close()

    async def _requests(
        self, pipe: _Pipe, reader: asyncio.StreamReader, server: asyncio.StreamWriter
    ) -> None:
        while True:
            request = await _read(reader)
            await self._flows.wait()
            if pipe.is_stranded:
                continue
            if pipe.loss is None and (loss := self._loss_of(request)) is not None:
                if not loss.delivers:
                    loss.happened.set()
                    raise _EndOfStream
                pipe.loss = loss
            server.write(request)
            await server.drain()

    def _loss_of(self, request: bytes) -> _Loss | None:
        for loss in self._losses:
            if loss.to in request:
                loss.skip -= 1
                if loss.skip < 0:
                    self._losses.remove(loss)
                    return loss
        return None

    async def _answers(self, pipe: _Pipe, server: asyncio.StreamReader) -> None:
        while True:
            answer = await _read(server)
            await self._flows.wait()
            if pipe.is_stranded:
                continue
            if pipe.loss is not None:
                pipe.loss.happened.set()
                raise _EndOfStream
            pipe.client.write(answer)
            await pipe.client.drain()
            self.delivered += len(answer)


class _EndOfStream(Exception):  # noqa: N818 - it is no error
    """One side has said all it had to say."""


class _Loss:
    """A request or a reply that is to be lost."""

    def __init__(self, to: bytes, skip: int, *, delivers: bool) -> None:
        self.to, self.skip, self.delivers = to, skip, delivers
        self.happened = asyncio.Event()


class _Pipe:
    """One connection, to the client and to the server."""

    def __init__(self, task: asyncio.Task[None], client: asyncio.StreamWriter) -> None:
        self._task, self.client = task, client
        self.server: asyncio.StreamWriter | None = None
        self.loss: _Loss | None = None
        self.is_stranded = False

    def break_off(self) -> asyncio.Task[None]:
        self._task.cancel()
        return self._task

    def close(self) -> None:
        for writer in (self.client, self.server):
            if writer is None:
                continue
            end = writer.get_extra_info("socket")
            if end is not None:
                # Whoever waits for an answer learns at once, by a reset, that there is none.
                with suppress(OSError):  # of a client that has been killed there is nothing left to reset
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            writer.transport.abort()


async def _read(reader: asyncio.StreamReader) -> bytes:
    chunk = await reader.read(_CHUNK)
    if not chunk:
        raise _EndOfStream
    return chunk
