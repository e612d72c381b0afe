"""Telling other handles that there is something new: after the write, beside it, and at most once at a time."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from asyncpg import Connection

from kapusta.backend import (
    Added,
    AddOutcome,
    Change,
    ChangeAnswer,
    Changed,
    LogEvent,
    SystemClock,
    TaskStatus,
    WakeKind,
    log_event,
)

from .. import Checkout
from ._sql import Sql

# A notification takes a lock of the whole server's while it is committed: never within the transaction of a write,
# and never as many as there are writes. It need not survive a crash, so its commit need not wait for the disk.
_NOTIFY: Final = """
SELECT set_config('synchronous_commit', 'off', TRUE),
       (SELECT count(pg_notify('kapusta_' || store.id, kind)) FROM {store} AS store, unnest($1::text[]) AS kind)
"""

_PAUSE: Final = 0.01
"""Seconds between two notifications; the first after a silence goes out at once."""
_ANSWER: Final = 5.0
"""Seconds that a notification may take: a connection that has gone silent keeps no later one waiting."""
_FAREWELL: Final = 1.0
"""Seconds that a shutdown waits for the last notification."""

_clock: Final = SystemClock()  # other processes live in real time, whatever clock a test moves here
_log: Final = logging.getLogger("kapusta.sqlalchemy")


class Hints:
    """What this handle has to tell; sent on a connection from *take*."""

    def __init__(
        self, sql: Sql, take: Callable[[], Awaitable[Checkout]], errors: tuple[type[Exception], ...]
    ) -> None:
        self._text = sql.fill(_NOTIFY)
        self._take = take
        self._errors: tuple[type[Exception], ...] = (*errors, TimeoutError)
        self._kinds: set[WakeKind] = set()
        self._sending: asyncio.Task[None] | None = None

    def tell(self, kinds: set[WakeKind]) -> None:
        """Send these soon."""
        self._kinds |= kinds
        if self._kinds and self._sending is None:
            self._sending = asyncio.create_task(self._send())

    async def close(self) -> None:
        """Return when all was told, or cannot be."""
        sending = self._sending
        if sending is not None:
            await asyncio.wait([sending], timeout=_FAREWELL)
            sending.cancel()
            await asyncio.wait([sending])

    async def _send(self) -> None:
        try:
            while self._kinds:
                kinds, self._kinds = self._kinds, set()
                await self._notify(sorted(kinds))
                await _clock.sleep(_PAUSE)
        except self._errors as error:  # a hint; whoever waits for it looks by itself before long
            log_event(_log, LogEvent.wakeup_not_sent, "a wake-up could not be sent: %s", error)
            self._kinds.clear()
        finally:
            self._sending = None

    async def _notify(self, kinds: list[WakeKind]) -> None:
        checkout = await self._take()
        connection: Connection = checkout.connection
        try:
            async with asyncio.timeout(_ANSWER):
                await connection.fetch(self._text, kinds)
        except BaseException:
            await checkout.discard()
            raise
        ending = checkout.give_back()
        if ending is not None:
            await ending


def of_added(answers: Sequence[Added]) -> set[WakeKind]:
    """What others want to hear of a launch; of a task that is not due yet too, since they plan to sleep so long.

    A launch that is repeated was stored by a write whose reply, and with it its hint, was lost.
    """
    told = {AddOutcome.new, AddOutcome.again}
    return {"work"} if any(answer.outcome in told for answer in answers) else set()


def of_changed(changes: Sequence[Change], answers: Sequence[Changed]) -> set[WakeKind]:
    """What others want to hear of changes."""
    kinds: set[WakeKind] = set()
    for change, answer in zip(changes, answers, strict=True):
        if answer.answer is ChangeAnswer.accepted:
            if change.status is None:
                kinds |= {"cancel"} if change.cancel_requested else set()
            else:
                kinds.add("work" if change.status is TaskStatus.pending else "settled")
    return kinds
