"""Statements that wait less for the lock of the file than others do."""

from __future__ import annotations

import sqlite3
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from aiosqlite import Connection

T = TypeVar("T")

_ASK: Final = "PRAGMA busy_timeout"


async def waiting_for(seconds: float, connection: Connection, work: Callable[[], Awaitable[T]]) -> T:
    """What *work* answers, each of whose statements waits so long at most; after it they wait as before.

    Where it is cancelled they do not: its connection is closed then.
    """
    [(before,)] = await connection.execute_fetchall(_ASK)
    await connection.execute_fetchall(f"{_ASK} = {round(1000 * seconds)}")
    try:
        answer = await work()
    except sqlite3.Error:
        await connection.execute_fetchall(f"{_ASK} = {before}")
        raise
    await connection.execute_fetchall(f"{_ASK} = {before}")
    return answer
