"""Bytes with a length before them."""

from __future__ import annotations

import asyncio
import socket
import struct
from typing import Final

_LENGTH: Final = struct.Struct(">Q")


def frame(data: bytes) -> bytes:
    """*data* as it travels."""
    return _LENGTH.pack(len(data)) + data


async def read_frame(reader: asyncio.StreamReader, most: int) -> bytes | None:
    """The next frame; ``None`` if the other end is gone before it was whole.

    Raises:
        ValueError: it says that it is longer than *most*; not a byte of it is kept.
    """
    try:
        (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
        if length > most:
            raise ValueError(f"it takes {length} bytes, {most} are the most")
        return await reader.readexactly(length)
    except (asyncio.IncompleteReadError, ConnectionError):
        return None


def receive_frame(channel: socket.socket) -> bytes | None:
    """Like `read_frame`, blocking, for a process without an event loop."""
    head = _receive(channel, _LENGTH.size)
    return None if head is None else _receive(channel, _LENGTH.unpack(head)[0])


def _receive(channel: socket.socket, size: int) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        part = channel.recv(min(size - len(parts), 1 << 20))
        if not part:
            return None
        parts += part
    return bytes(parts)
