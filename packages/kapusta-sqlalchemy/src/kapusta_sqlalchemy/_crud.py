"""The SQL store: a handle that speaks to whatever database its URL leads to."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager, suppress
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy import URL, Engine, make_url, select
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine

from kapusta.backend import (
    Added,
    BaseCRUD,
    Capabilities,
    Change,
    Changed,
    ClaimRequest,
    Claims,
    Clock,
    JoinedStore,
    NewTask,
    Renewed,
    RenewRequest,
    StoredTask,
    StoreError,
    StoreNotStartedError,
    StoreUnavailableError,
    StoreUrlError,
    TaskQuery,
    WakeKind,
    masked,
)

from ._connections import Connections
from ._dialects import Dialect, choose, said
from ._joining import Joined
from ._migrate import STARTUP_SECONDS, ensure_schema
from ._patience import answered_within, patiently
from ._tables import PREFIX, build_tables
from ._whole import opened_whole, seen_through

_inherited: Final[list[_Started]] = []
"""What a fork has copied, kept for good: finalizing its connections would take them from the original's epoll."""

_EXAMPLE: Final = "Write it like sqlite+aiosqlite:///path/to/file.db."


class AlchemyCRUD(BaseCRUD):
    """Tasks in a SQL database.

    Args:
        url_or_engine: ``"sqlite+aiosqlite:///tasks.db"`` (plain ``sqlite:///`` means the same), an SQLAlchemy
            URL, or an ``AsyncEngine`` of yours, which is used as it is and never disposed. From a URL a handle
            opens at most three connections, on PostgreSQL five, and one more to listen; a worker has two handles.
        clock: for tests that move time.
        migrate: whether ``startup()`` may create and migrate the tables.
        table_prefix: what the names of the tables begin with.
        schema: the database schema of the tables.
    """

    protocol = 1

    def __init__(
        self,
        url_or_engine: str | URL | AsyncEngine,
        *,
        clock: Clock | None = None,
        migrate: bool = True,
        table_prefix: str = PREFIX,
        schema: str | None = None,
    ) -> None:
        super().__init__(clock=clock)
        self._address = url_or_engine
        self._migrate = migrate
        self._tables = build_tables(table_prefix, schema)
        self._is_twin = False
        self._lock: tuple[asyncio.AbstractEventLoop, asyncio.Lock] | None = None
        self._started: _Started | None = None
        try:
            self.capabilities = choose(url_of(url_or_engine)).capabilities
        except StoreError:
            self.capabilities = Capabilities()  # startup() says what is wrong

    def __repr__(self) -> str:
        try:
            url = url_of(self._address)
        except StoreError:
            return super().__repr__()
        # What SQLAlchemy has made of a text hides nothing that a slip has put elsewhere than where a password belongs.
        text = (
            masked(self._address) if isinstance(self._address, str) else url.set(query={}).render_as_string()
        )
        return f"<{type(self).__name__} {text}>"

    # --- starting and stopping ----------------------------------------------------------------------

    async def startup(self) -> None:
        async with self._alone():
            if self._started is None or not self._started.is_here:
                await self._close()
                self._started = await opened_whole(self._open(), _Started.close)

    async def shutdown(self) -> None:
        async with self._alone():
            await self._close()

    def _alone(self) -> asyncio.Lock:
        """Starting and stopping, one after the other on each loop; a loop that has gone holds up nobody."""
        loop = asyncio.get_running_loop()
        if self._lock is None or self._lock[0] is not loop:
            self._lock = loop, asyncio.Lock()
        return self._lock[1]

    async def _close(self) -> None:
        if self._started is not None and self._started.is_alive and not self._started.is_here:
            raise StoreNotStartedError(backend=type(self).__name__, elsewhere=True)
        started, self._started = self._started, None
        if started is not None:
            await seen_through(started.close())

    async def _open(self) -> _Started:
        url = url_of(self._address)
        dialect = choose(url)(self._tables, self.clock)
        dialect.check_names(url)
        made = not isinstance(self._address, AsyncEngine)
        disposes = made or self._is_twin
        engine = self._address if isinstance(self._address, AsyncEngine) else dialect.make_engine(url)

        async def attempt() -> None:
            async with answered_within(STARTUP_SECONDS, "startup"):
                try:
                    await dialect.prepare(engine)
                except TypeError as problem:
                    if not (made and url.query):
                        raise
                    raise StoreUrlError(
                        url=url.render_as_string(hide_password=True),
                        problem=f"has an option that the driver does not take: {problem}",
                        remedy="Leave out what the driver does not know of the part behind '?'.",
                    ) from None
            await ensure_schema(engine, dialect, migrate=self._migrate)

        try:
            await patiently(dialect, "startup", attempt)
        except BaseException:
            if disposes:
                await engine.dispose()
            raise
        self.capabilities = dialect.capabilities
        connections = Connections(engine, dialect, made=made, disposes=disposes)
        return _Started(asyncio.get_running_loop(), engine, dialect, connections)

    def twin(self) -> AlchemyCRUD:
        address = self._address
        is_twin = isinstance(address, AsyncEngine)
        twin = AlchemyCRUD(
            _twin_of(address) if isinstance(address, AsyncEngine) else address,
            clock=self.clock,
            migrate=self._migrate,
            table_prefix=self._tables.prefix,
            schema=self._tables.schema,
        )
        twin._is_twin = is_twin
        return twin

    # --- tasks --------------------------------------------------------------------------------------

    async def add_tasks(self, tasks: Sequence[NewTask]) -> Sequence[Added]:
        here = self._here()
        if not tasks:
            return []
        return await here.connections.write("add_tasks", lambda found: here.dialect.add(found, tasks))

    async def claim_tasks(self, request: ClaimRequest) -> Claims:
        here = self._here()
        return await here.connections.write("claim_tasks", lambda found: here.dialect.claim(found, request))

    async def start_task(self, task: NewTask, request: ClaimRequest) -> Claims | None:
        here = self._here()
        return await here.connections.write(
            "start_task", lambda found: here.dialect.start(found, task, request)
        )

    async def change_tasks(self, changes: Sequence[Change]) -> Sequence[Changed]:
        here = self._here()
        if not changes:
            return []
        return await here.connections.write("change_tasks", lambda found: here.dialect.change(found, changes))

    async def renew_leases(self, request: RenewRequest) -> Sequence[Renewed]:
        here = self._here()
        if not request.renewals:
            return []
        return await here.connections.write("renew_leases", lambda found: here.dialect.renew(found, request))

    async def find_tasks(self, query: TaskQuery) -> Sequence[StoredTask]:
        here = self._here()
        return await here.connections.read("find_tasks", lambda found: here.dialect.find(found, query))

    async def delete_tasks(self, ids: Sequence[int]) -> int:
        here = self._here()
        if not ids:
            return 0
        return await here.connections.write("delete_tasks", lambda found: here.dialect.delete(found, ids))

    def listen(self, wake: Callable[[WakeKind], None]) -> AbstractAsyncContextManager[None]:
        here = self._here()
        return here.dialect.listen(here.engine, wake)

    def within(self, transaction: object, committed: Callable[[], object]) -> JoinedStore:
        here = self._here()

        def told(news: set[WakeKind]) -> None:
            here.dialect.hint(news)
            committed()

        return Joined(transaction, self._tables, lambda: self.clock.offset, self._store_id, told)

    async def _store_id(self) -> str:
        """The store's random id, looked up once."""
        here = self._here()
        if here.store_id is None:
            try:
                async with answered_within(STARTUP_SECONDS, "within"), here.engine.connect() as connection:
                    here.store_id = (await connection.execute(select(self._tables.store.c.id))).scalar_one()
            except StoreUnavailableError:
                raise
            except (
                here.dialect.errors
            ) as error:  # our own connection's; an error of the caller's connection stays as it is
                raise StoreUnavailableError(operation="within", problem=said(error)) from error
        return here.store_id

    def _here(self) -> _Started:
        # A copy of this process shares its sockets: what both send on them would be answered to either.
        if self._started is None or self._started.process != os.getpid():
            raise StoreNotStartedError(backend=type(self).__name__)
        if self._started.loop is not asyncio.get_running_loop():
            raise StoreNotStartedError(backend=type(self).__name__, elsewhere=True)
        return self._started


@dataclass
class _Started:
    """What there is from ``startup()`` to ``shutdown()``; written by its loop."""

    loop: asyncio.AbstractEventLoop
    engine: AsyncEngine
    dialect: Dialect
    connections: Connections
    store_id: str | None = None
    process: int = field(default_factory=os.getpid)

    @property
    def is_here(self) -> bool:
        """Whether it was started by this process, on the running loop."""
        return self.process == os.getpid() and self.loop is asyncio.get_running_loop()

    @property
    def is_alive(self) -> bool:
        """Whether the loop runs that it was started on, in this process."""
        return self.process == os.getpid() and self.loop.is_running()

    async def close(self) -> None:
        if self.is_here:
            await self.connections.close()
        elif self.process != os.getpid():
            _inherited.append(self)
        else:
            self.connections.abandon()


def url_of(address: object) -> URL:
    """The URL of what a handle was made with.

    Raises:
        StoreUrlError: it has none.
    """
    if isinstance(address, AsyncEngine):
        return address.url
    if isinstance(address, URL):
        return address
    if isinstance(address, str):
        try:
            return make_url(address)
        except (ArgumentError, ValueError):
            # Not `from` it: it may quote a part of the password.
            raise StoreUrlError(url=address, problem="cannot be read", remedy=_EXAMPLE) from None
    if isinstance(address, Engine):
        raise StoreUrlError(
            url=address.url.render_as_string(hide_password=True),
            problem="comes with an engine that blocks",
            remedy="Give an AsyncEngine, made by sqlalchemy.ext.asyncio.create_async_engine(), or the URL alone.",
        )
    raise StoreUrlError(
        url=repr(address), problem=f"is of type {type(address).__name__}, not text", remedy=_EXAMPLE
    )


def require_driver(address: str) -> None:
    """Raise `MissingDriverError` if that is what ``startup()`` would say."""
    with suppress(StoreUrlError):
        choose(url_of(address))


def _twin_of(engine: AsyncEngine) -> AsyncEngine:
    """Another engine to the same database, with the listeners of the first: those of a pool come with it."""
    sync = engine.sync_engine
    return AsyncEngine(
        Engine(sync.pool.recreate(), sync.dialect, sync.url, hide_parameters=sync.hide_parameters)
    )
