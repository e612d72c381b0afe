"""A driver's connection that is asked several things in one packet, and is never left in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias

from aiomysql import Connection, Cursor, Error  # type: ignore[import-untyped]  # the driver ships no types
from pymysql.constants.SERVER_STATUS import (  # type: ignore[import-untyped]  # likewise
    SERVER_STATUS_IN_TRANS,
)

from kapusta.backend import StoreError

Statement: TypeAlias = tuple[str, Sequence[Any]]
"""A text with ``%s`` marks, and what to put there."""

BEGIN: Final[Statement] = ("START TRANSACTION", ())
COMMIT: Final[Statement] = ("COMMIT", ())
"""What writes stands between the two, and nothing stands behind."""

# Longer than a statement waits for a lock: a server that says nothing for so long is not there.
_HANGS_AFTER: Final = 4.0
_BETWEEN: Final = b";\n"


class Session:
    """One connection, for one operation at a time.

    All statements of a transaction travel in one packet, so it begins and ends on the server, whatever the
    event loop is doing: a ``sync`` task cannot keep rows locked. A caller who is cancelled leaves at once,
    while the packet's answers are still read; aiomysql itself would close the socket, and nobody would
    know whether the server has gone on.
    """

    def __init__(self, driver: Connection, longest: int) -> None:
        self.driver = driver
        self.longest = longest
        self._asking: asyncio.Task[list[Any]] | None = None

    @property
    def in_transaction(self) -> bool:
        return not self.driver.closed and bool(self.driver.server_status & SERVER_STATUS_IN_TRANS)

    async def ask(self, *statements: Statement) -> list[Any]:
        """The rows of each statement, or how many it found. The first that fails is the last; then all is undone."""
        self._asking = asyncio.create_task(self._ask(statements))
        return await asyncio.shield(self._asking)

    async def end(self) -> None:
        """Wait for what is under way, undo what is left open, and close the connection."""
        try:
            if self._asking is not None and not self._asking.done():
                await asyncio.wait([self._asking], timeout=_HANGS_AFTER)
                self._asking.cancel()
            if self._asking is not None and not self._asking.cancelled() and self._asking.done():
                self._asking.exception()  # whoever asked has left, and was told nothing
            if self.in_transaction:
                with suppress(Error, TimeoutError):  # what cannot be undone now is undone by closing
                    async with asyncio.timeout(_HANGS_AFTER):
                        await _send(self.driver, b"ROLLBACK")
        finally:
            self.driver.close()

    async def _ask(self, statements: Sequence[Statement]) -> list[Any]:
        return await self._send(statements)

    async def _send(self, statements: Sequence[Statement]) -> list[Any]:
        results = []
        try:
            for packet in self._packets(statements):
                results += await _send(self.driver, packet)
        except Error:
            if self.in_transaction:
                await _send(self.driver, b"ROLLBACK")
            raise
        return results

    def _packets(self, statements: Sequence[Statement]) -> Iterator[bytes]:
        """The statements, as many in a packet as the server takes."""
        packet: list[bytes] = []
        length = 0
        for text, parameters in statements:
            encoded = (text % tuple(map(_literal, parameters))).encode()
            if len(encoded) > self.longest:
                raise StoreError(
                    f"One task takes {len(encoded)} bytes to write, and the server reads {self.longest} at a "
                    f"time. Raise its max_allowed_packet, or store less with a task."
                )
            if packet and length + len(encoded) + len(_BETWEEN) > self.longest:
                yield _BETWEEN.join(packet)
                packet, length = [], 0
            packet.append(encoded)
            length += len(encoded) + len(_BETWEEN)
        yield _BETWEEN.join(packet)


class NodeSession(Session):
    """The same on a node of a cluster, where each statement of a transaction is a packet of its own.

    A node undoes a transaction when another one was the first to change its rows. If that comes between two
    statements of one packet, MariaDB goes on with the next as if nothing were, and says of the ``COMMIT`` that
    it succeeded; between two packets it keeps the error for the next one.
    """

    async def _ask(self, statements: Sequence[Statement]) -> list[Any]:
        if BEGIN not in statements:
            return await self._send(statements)
        locks_nothing = statements.index(BEGIN) + 1
        results = await self._send(statements[:locks_nothing])
        for statement in statements[locks_nothing:]:
            results += await self._send([statement])
        return results


def _literal(value: bytes | int | str | None) -> str:
    """A value in the text of a statement.

    Bytes in hexadecimal mean the same in every character set and ``sql_mode``, and the drivers' own ways to
    write them differ between versions. A text is one of our own few words.
    """
    if isinstance(value, bytes):
        return f"x'{value.hex()}'"
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(int(value))
    if not value.isidentifier():
        raise ValueError(f"{value!r} is no word of ours")
    return f"'{value}'"


class _Cursor(Cursor):  # type: ignore[misc]  # a base without types
    """One that does not ask for warnings between the answers."""

    async def _show_warnings(self, conn: Connection) -> None:
        pass


async def _send(driver: Connection, packet: bytes) -> list[Any]:
    # Not closed afterwards: closing reads what is left, and after an error it would wait for what never comes.
    cursor = await driver.cursor(_Cursor)
    await cursor.execute(packet)
    results = []
    while True:
        results.append(await cursor.fetchall() if cursor.description else cursor.rowcount)
        if not await cursor.nextset():
            return results
