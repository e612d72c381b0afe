"""Hearing of other handles' writes, on a connection of its own that is asked whether it still hears."""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, cast, get_args

from asyncpg import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from kapusta.backend import LogEvent, StoreUnavailableError, SystemClock, WakeKind, log_event

from ..._whole import opened_whole, seen_through
from ._checkouts import close, driver_of
from ._sql import Sql
from ._trouble import ERRORS

PERIOD: Final = 20.0
"""Seconds between two questions whether a notification still arrives."""
PATIENCE: Final = 5.0
"""Seconds for the answer."""
POLLING: Final = 1.0
"""Seconds between two looks where nothing can be heard, as on a database that has no notifications."""
_FIRST_PAUSE, _LONGEST_PAUSE = 0.05, 10.0

_KINDS: Final = frozenset(get_args(WakeKind))
_CHANNEL: Final = "SELECT 'kapusta_' || id, pg_backend_pid() FROM {store}"
_PING: Final = "SELECT set_config('synchronous_commit', 'off', TRUE), pg_notify($1, $2)"

_clock: Final = SystemClock()  # a connection lives in real time, whatever clock a test moves
_log: Final = logging.getLogger("kapusta.sqlalchemy")


@asynccontextmanager
async def listening(engine: AsyncEngine, sql: Sql, wake: Callable[[WakeKind], None]) -> AsyncIterator[None]:
    """While entered, call *wake* for what is notified of; when a connection is lost, on another one.

    Raises:
        StoreUnavailableError: there was no connection to begin with.
    """
    listener = _Listener(engine, sql, wake)
    try:
        await listener.open()
    except ERRORS as error:
        raise StoreUnavailableError(operation="listen", problem=str(error) or repr(error)) from error
    task = asyncio.create_task(listener.go_on())
    try:
        yield
    finally:
        task.cancel()
        await seen_through(listener.end(task))


class _Ear:
    """One connection that listens to one channel."""

    def __init__(self, connection: Connection, channel: str, wake: Callable[[WakeKind], None]) -> None:
        self.connection, self._channel, self._wake = connection, channel, wake
        self._mark = ""
        self._heard_mark = asyncio.Event()
        self._lost = asyncio.Event()

    async def open(self) -> None:
        self.connection.add_termination_listener(self._on_termination)
        await self.connection.add_listener(self._channel, self._on_notification)

    async def close(self) -> None:
        self.connection.remove_termination_listener(self._on_termination)
        await close(self.connection)

    async def is_lost_within(self, seconds: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._lost.wait()
        return self._lost.is_set()

    async def still_hears(self, speaker: Connection | None = None) -> None:
        """Return when a notification of our own has come back, sent from here or by *speaker*.

        Raises:
            TimeoutError: it has not.
        """
        self._mark = secrets.token_hex(8)
        self._heard_mark.clear()
        async with asyncio.timeout(PATIENCE):
            await (speaker or self.connection).fetch(_PING, self._channel, self._mark)
            await self._heard_mark.wait()

    def _on_notification(self, _connection: Any, _process: int, _channel: str, payload: object) -> None:
        if payload in _KINDS:
            self._wake(cast("WakeKind", payload))
        elif payload == self._mark:
            self._heard_mark.set()

    def _on_termination(self, _connection: Any) -> None:
        self._lost.set()


class _Listener:
    """One listener's connections, one after the other."""

    def __init__(self, engine: AsyncEngine, sql: Sql, wake: Callable[[WakeKind], None]) -> None:
        self._engine, self._sql, self._wake = engine, sql, wake
        self._ear: _Ear | None = None
        self._is_pooled = False
        self.is_over = False

    async def open(self) -> None:
        self._ear = await opened_whole(self._open(), _Ear.close)

    async def close(self) -> None:
        ear, self._ear = self._ear, None
        if ear is not None:
            await ear.close()

    async def end(self, task: asyncio.Task[None]) -> None:
        """Close what *task*, which was cancelled, has left open once it has ended."""
        self.is_over = True
        await asyncio.wait([task])
        await self.close()

    async def go_on(self) -> None:
        """Have an ear open until cancelled; behind a pooler that does not let us listen, look around instead."""
        if self._ear is not None and self._is_pooled and await self._is_deaf(self._ear):
            await self.close()
            await self._poll()
        pause = _FIRST_PAUSE
        while True:
            begun = _clock.monotonic()
            try:
                if self._ear is None:
                    await self.open()
                    for kind in _KINDS:  # whatever was told meanwhile
                        self._tell(kind)
                await self._stay()
            except ERRORS as error:  # operations fail too, then, and say so to those who wait
                log_event(_log, LogEvent.listener_disconnected, "no connection to listen on: %s", error)
            await self.close()
            # A server that takes connections only to end them is not stormed either.
            if _clock.monotonic() - begun > _LONGEST_PAUSE:
                pause = _FIRST_PAUSE
            await _clock.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    async def _open(self) -> _Ear:
        taken = await self._engine.raw_connection()
        connection = driver_of(taken)
        taken.detach()  # not one of the pool's any more, which has others to serve
        try:
            channel, process = await connection.fetchrow(self._sql.fill(_CHANNEL))
            self._is_pooled = process != connection.get_server_pid()
            ear = _Ear(connection, channel, self._tell)
            await ear.open()
        except BaseException:
            await close(connection)
            raise
        return ear

    async def _stay(self) -> None:
        """Return when the connection is lost, or hears nothing any more."""
        ear = self._ear
        while ear is not None and not await ear.is_lost_within(PERIOD):
            try:
                await ear.still_hears()
            except ERRORS as error:
                log_event(
                    _log,
                    LogEvent.listener_deaf,
                    "The connection that listens for new tasks hears nothing any more, and is replaced: %s. Does a "
                    "pooler hand out another connection for each transaction?",
                    str(error) or "no answer",
                )
                return

    async def _is_deaf(self, ear: _Ear) -> bool:
        """Whether what others say does not arrive there; not asked by itself, which might hear its own echo."""
        taken = await self._engine.raw_connection()
        try:
            await ear.still_hears(driver_of(taken))
        except TimeoutError:
            return True
        except ERRORS:
            return False  # something else is wrong, which will be noticed
        finally:
            taken.close()
        return False

    async def _poll(self) -> None:
        log_event(
            _log,
            LogEvent.listener_polling,
            "A pooler stands before %s and hands out another connection for each transaction, so nothing can be heard "
            "there: this worker looks for new tasks every %g s. It would hear at once by a URL that leads past the "
            "pooler, or to one that pools sessions",
            self._engine.url.render_as_string(hide_password=True),
            POLLING,
        )
        while True:
            await _clock.sleep(POLLING)
            for kind in _KINDS:
                self._tell(kind)

    def _tell(self, kind: WakeKind) -> None:
        if not self.is_over:
            self._wake(kind)
