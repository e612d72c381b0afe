"""What a database must answer, and which one a URL leads to."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from importlib import import_module
from math import inf
from typing import Any, ClassVar, Final

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from kapusta.backend import (
    Added,
    Capabilities,
    Change,
    Changed,
    ClaimRequest,
    Claims,
    Clock,
    MissingDriverError,
    NewTask,
    Renewed,
    RenewRequest,
    StoredTask,
    StoreUrlError,
    SystemClock,
    TaskQuery,
    WakeKind,
)

from .._rows import as_many_as_asked, to_record
from .._tables import Tables, names_of

OPENING_SECONDS: Final = 5.0
"""How long a caller who is cancelled waits for a connection to be opened in order; one of ours takes no longer."""

_OPENED: Final = "kapusta: when it was seen first"
_clock: Final = SystemClock()  # a connection lives in real time, whatever clock a test moves


def is_doubted(info: dict[Any, Any], doubted_at: float) -> bool:
    """Whether a pooled connection, of which *info* is kept, is older than the doubt about all of them."""
    opened_at: float = info.setdefault(_OPENED, _clock.monotonic())
    return opened_at <= doubted_at


@dataclass(frozen=True)
class Trouble:
    """What an error of a driver means.

    Attributes:
        problem: the fact, for people.
        passes: another writer was in the way; trying again at once is likely to help.
        closes: the connection must not be used again.
    """

    problem: str
    passes: bool = False
    closes: bool = True


def said(error: Exception) -> str:
    """Return the first line of what the database said, or SQLAlchemy in its place; without the statement."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig is not None else error
    words = cause.args[-1] if cause.args else cause
    first = str(words).strip().partition("\n")[0].rpartition(">: ")[2]  # SQLAlchemy 2.0 puts a class in front
    return first or type(cause).__name__


class Checkout(ABC):
    """A connection taken from a pool for one operation; ends in exactly one of the two methods."""

    connection: Any
    """What the operations of the dialect work on."""

    @property
    @abstractmethod
    def in_transaction(self) -> bool:
        """Whether an operation that failed has left a transaction open; then it is discarded."""

    @abstractmethod
    def give_back(self) -> Coroutine[Any, Any, None] | None:
        """It is as it was; ``None``: there is nothing to wait for."""

    @abstractmethod
    async def discard(self) -> None:
        """Nobody knows what it is doing: have that end, and close it."""


class Dialect(ABC):
    """One kind of database: the SQL of the operations, and what surrounds it.

    The operations mean what `kapusta.backend.BaseCRUD` says. Each gets a checked-out connection, in the
    driver's autocommit mode, and may be cancelled at any await: its connection is discarded then.
    """

    capabilities: ClassVar[Capabilities]
    errors: ClassVar[tuple[type[Exception], ...]]
    """What ``trouble`` is asked about."""
    writers: ClassVar[int]
    """How many writing operations of one handle go on at once, each on a connection."""
    readers: ClassVar[int]
    """How many reading ones."""
    longest_name: ClassVar[int] = 1 << 31
    """How long the name of a table or an index may be, as ``length_of`` counts."""
    record_of = staticmethod(to_record)
    """The record of a row of the task table."""

    def __init__(self, tables: Tables, clock: Clock) -> None:
        self.tables = tables
        self.clock = clock
        self.doubted_at = -inf

    def doubt(self) -> None:
        """A connection has failed: those that were opened before may be as dead, though nobody has heard so."""
        self.doubted_at = _clock.monotonic()

    # --- opening ------------------------------------------------------------------------------------

    @staticmethod
    def length_of(name: str) -> int:
        """How long the database finds a name."""
        return len(name)

    @staticmethod
    def takes(character: str) -> bool:
        """Return whether the database takes *character* in a name."""
        return character != "\0" and not "\ud800" <= character <= "\udfff"

    def check_names(self, url: URL) -> None:
        """Look whether the database has room for what the tables are called, and nobody else is called the same.

        Raises:
            StoreUrlError: it has not, or somebody is.
        """
        if not self.tables.prefix:
            raise StoreUrlError(
                url=url.render_as_string(hide_password=True),
                problem=f"comes with table_prefix='', so that a table of ours would be {self.tables.version.name!r}, as "
                "Alembic calls that of your own migrations",
                remedy="Choose another one.",
            )
        for option, given in (("table_prefix", self.tables.prefix), ("schema", self.tables.schema or "")):
            for character in given:
                if not self.takes(character):
                    raise StoreUrlError(
                        url=url.render_as_string(hide_password=True),
                        problem=f"comes with {option}={given!r}, and the database takes no {character!r} in a name",
                        remedy="Leave that character out.",
                    )
        longest = max(names_of(self.tables), key=self.length_of)
        self.check_name(url, "table_prefix", self.tables.prefix, longest)

    def check_name(self, url: URL, option: str, given: str, name: str) -> None:
        """Raise `StoreUrlError` if *name*, which follows from what was *given* as an option, is too long."""
        if (length := self.length_of(name)) > self.longest_name:
            raise StoreUrlError(
                url=url.render_as_string(hide_password=True),
                problem=f"comes with {option}={given!r}, so that the name {name!r} has a length of {length}, and the "
                f"database allows {self.longest_name}",
                remedy="Choose a shorter one.",
            )

    @abstractmethod
    def make_engine(self, url: URL) -> AsyncEngine:
        """An engine for this handle alone.

        Raises:
            StoreUrlError, MissingDriverError: as ``startup()`` says.
        """

    @abstractmethod
    async def prepare(self, engine: AsyncEngine) -> None:
        """Check what the address leads to, and make what is the database's and not a connection's.

        Raises:
            StoreUrlError: it leads nowhere, or to something else.
        """

    @abstractmethod
    def migrating(self, connection: AsyncConnection) -> AbstractAsyncContextManager[None]:
        """A transaction in which nobody else migrates; committed at the end, rolled back on an error."""

    @abstractmethod
    async def checkout(self, engine: AsyncEngine, *, made: bool) -> Checkout:
        """A connection; *made* says whether the engine came from ``make_engine``.

        May be cancelled too, and has taken nothing then.
        """

    async def close(self) -> None:  # noqa: B027 - not every database has something to end
        """End what this dialect has going on beside the operations; before the engine is disposed."""

    def hint(self, kinds: set[WakeKind]) -> None:  # noqa: B027 - not every database can tell others
        """Tell other handles soon what somebody's transaction has brought."""

    @abstractmethod
    def trouble(self, error: Exception) -> Trouble | None:
        """What one of ``errors`` means; ``None``: neither an outage that is known by its name, nor a conflict."""

    @abstractmethod
    def refuses_data(self, error: Exception) -> bool:
        """Return whether one of ``errors`` concerns the data of a row or of the call, not the state of the store."""

    def forbids(self, error: Exception) -> bool:  # noqa: ARG002 - not every database knows users
        """Whether one of ``errors`` says that this user may not create or change tables."""
        return False

    # --- operations ---------------------------------------------------------------------------------

    @abstractmethod
    async def add(self, connection: Any, tasks: Sequence[NewTask]) -> list[Added]: ...

    @abstractmethod
    async def claim(self, connection: Any, request: ClaimRequest) -> Claims: ...

    @abstractmethod
    async def start(self, connection: Any, task: NewTask, request: ClaimRequest) -> Claims | None: ...

    @abstractmethod
    async def change(self, connection: Any, changes: Sequence[Change]) -> list[Changed]: ...

    @abstractmethod
    async def renew(self, connection: Any, request: RenewRequest) -> list[Renewed]: ...

    async def find(self, connection: Any, query: TaskQuery) -> list[StoredTask]:
        """As many as are asked for, also where rows are in between that cannot be read."""
        return await as_many_as_asked(query, lambda rest: self.rows(connection, rest), self.record_of)

    @abstractmethod
    async def rows(self, connection: Any, query: TaskQuery) -> Sequence[Any]:
        """The rows of what a query asks for, whether or not they can be read."""

    @abstractmethod
    async def delete(self, connection: Any, ids: Sequence[int]) -> int: ...

    @abstractmethod
    def listen(
        self, engine: AsyncEngine, wake: Callable[[WakeKind], None]
    ) -> AbstractAsyncContextManager[None]:
        """As `kapusta.backend.BaseCRUD.listen`."""


@dataclass(frozen=True)
class _Home:
    """Where a dialect is, and what it needs.

    Attributes:
        module: the package in this folder.
        name: its class.
        driver: the only driver it works with.
        install: what brings the driver.
        example: an address.
    """

    module: str
    name: str
    driver: str
    install: str
    example: str


_HOMES: Final = {
    "sqlite": _Home(
        module="_sqlite",
        name="SQLite",
        driver="aiosqlite",
        install="kapusta-sqlalchemy",
        example="sqlite+aiosqlite:///path/to/file.db",
    ),
    "postgresql": _Home(
        module="_postgresql",
        name="PostgreSQL",
        driver="asyncpg",
        install="kapusta-sqlalchemy[postgresql]",
        example="postgresql+asyncpg://user:password@host/database",
    ),
    "mysql": _Home(
        module="_mysql",
        name="MySQL",
        driver="aiomysql",
        install="kapusta-sqlalchemy[mysql]",
        example="mysql+aiomysql://user:password@host/database",
    ),
    "mariadb": _Home(
        module="_mysql",
        name="MySQL",
        driver="aiomysql",
        install="kapusta-sqlalchemy[mysql]",
        example="mariadb+aiomysql://user:password@host/database",
    ),
}
"""By the part of a URL's scheme that names the database."""


def kind_of(url: URL) -> str:
    """The database that a URL leads to, in SQLAlchemy's word; needs no driver.

    Raises:
        StoreUrlError: none that is spoken here.
    """
    _home_of(url)
    return url.get_backend_name()


def choose(url: URL) -> type[Dialect]:
    """The dialect of a URL.

    Raises:
        StoreUrlError: there is none.
        MissingDriverError: there is, without its driver.
    """
    home = _home_of(url)
    try:
        module = import_module(f".{home.module}", __name__)
    except ModuleNotFoundError as error:
        if error.name != home.driver:
            raise
        raise MissingDriverError(
            url=url.render_as_string(hide_password=True), driver=home.driver, install=home.install
        ) from error
    dialect: type[Dialect] = getattr(module, home.name)
    return dialect


def _home_of(url: URL) -> _Home:
    backend, _, driver = url.drivername.partition("+")
    home = _HOMES.get(backend)
    if home is None or driver not in {"", home.driver}:
        raise StoreUrlError(
            url=url.render_as_string(hide_password=True),
            problem=(
                f"asks for the database '{backend}', which this version does not speak"
                if home is None
                else f"asks for the driver '{driver}', which cannot wait without blocking or is not known here"
            ),
            remedy=f"Use {home.example if home else ' or '.join(known.example for known in _HOMES.values())}.",
        )
    return home
