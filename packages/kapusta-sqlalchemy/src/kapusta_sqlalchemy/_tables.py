"""The tables: what is stored of a task, of a unique key and of the store itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import TypeEngine

PREFIX: Final = "kapusta_"

# In SQLite a column of the type INTEGER holds 64 bits, and only such a one can be the rowid.
Number: Final = BigInteger().with_variant(Integer(), "sqlite")
# Microseconds since 1970 in UTC: compared, added and indexed as numbers, exact to the end of datetime.
Instant: Final = Number
Duration: Final = Number

# URLs of both kinds lead to either server, and SQLAlchemy asks for the kind.
_MYSQL: Final = ("mysql", "mariadb")

# In MySQL an index holds no long text: a key is its SHA-256 there, and can be read in the column beside.
Key: Final = Text().with_variant(Text(collation="C"), "postgresql").with_variant(mysql.BINARY(32), *_MYSQL)
# The plain types of MySQL end at 64 KiB.
Data: Final = LargeBinary().with_variant(mysql.LONGBLOB(), *_MYSQL)
LongText: Final = Text().with_variant(mysql.LONGTEXT(), *_MYSQL)


def short_text(length: int) -> TypeEngine[str]:
    """A text that is compared byte by byte; on PostgreSQL of any length, which costs nothing there.

    In MySQL it is bytes: no collation that both it and MariaDB have keeps trailing spaces apart.
    """
    return (
        String(length)
        .with_variant(Text(collation="C"), "postgresql")
        .with_variant(mysql.VARBINARY(4 * length), *_MYSQL)
    )


# One of a few words of ours.
Word: Final = (
    String(16)
    .with_variant(Text(collation="C"), "postgresql")
    .with_variant(mysql.VARCHAR(16, charset="ascii", collation="ascii_bin"), *_MYSQL)
)

_OPTIONS: Final[dict[str, Any]] = {
    f"{kind}_{name}": value
    for kind in _MYSQL
    for name, value in {"engine": "InnoDB", "charset": "utf8mb4", "row_format": "DYNAMIC"}.items()
}


def python_type(column: Column[Any]) -> type:
    """Of which type a value of this column is, in a row; a truth is a number where a database has no other."""
    found = column.type.python_type
    return int if found is bool else found


@dataclass(frozen=True, kw_only=True)
class Tables:
    """The tables of one store.

    Attributes:
        metadata: all of them.
        task: one row a task; the claim, the lease and the outcome are columns of it.
        unique_key: who took a key last. Whether the key is still in use follows from that task's status,
            so that settling a task need not write here.
        store: one row: which store this is, and which readers may use it.
        version: Alembic's own.
        prefix: what their names begin with.
        schema: the database schema they are in; ``None``: the connection's default.
    """

    metadata: MetaData
    task: Table
    unique_key: Table
    store: Table
    version: Table
    prefix: str
    schema: str | None


def names_of(tables: Tables) -> list[str]:
    """What the database is to call the tables, and what belongs to them."""
    of_tables = tables.metadata.tables.values()
    indexes = [str(index.name) for table in of_tables for index in table.indexes]
    return [table.name for table in of_tables] + indexes + [str(tables.version.primary_key.name)]


def build_tables(prefix: str = PREFIX, schema: str | None = None) -> Tables:
    """The tables with this prefix in this schema."""
    metadata = MetaData(schema=schema)
    return Tables(
        metadata=metadata,
        task=_task(metadata, prefix),
        unique_key=_unique_key(metadata, prefix),
        store=_store(metadata, prefix),
        version=_version(metadata, prefix),
        prefix=prefix,
        schema=schema,
    )


def _task(metadata: MetaData, prefix: str) -> Table:
    task = Table(
        f"{prefix}task",
        metadata,
        Column("id", Number, primary_key=True, autoincrement=False),
        Column("token", short_text(64), nullable=False),
        Column("name", short_text(255), nullable=False),
        Column("payload", Data, nullable=False),
        Column("codec", short_text(64), nullable=False),
        Column("mode", Word, nullable=False),
        Column("queue", short_text(255), nullable=False),
        Column("rank", SmallInteger, nullable=False),  # minus the priority: the smallest goes first
        Column("eta", Instant, nullable=False),
        Column("deadline", Instant),
        Column("options", Data, nullable=False),
        Column("status", Word, nullable=False),
        Column("run", Number, nullable=False),
        Column("worker", short_text(255)),
        Column("lease", Duration),
        Column("lease_end", Instant),
        Column("settled_run", Number),
        Column("failures", Integer, nullable=False),
        Column("crashes", Integer, nullable=False),
        Column("interruptions", Integer, nullable=False),
        Column("cancel_requested", Boolean, nullable=False),
        Column("result", Data),
        Column("error", LongText),
        Column("reason", LongText),
        Column("created", Instant, nullable=False),
        Column("started", Instant),
        Column("finished", Instant),
        **_OPTIONS,
    )
    column = task.c
    # A lane is a queue, mode, name and rank. With the name before the rank a worker never reads past tasks
    # that it does not know; with the rank before the eta it never reads past tasks that are not due yet. The
    # deadline is there so that the claim reads nothing but the index. The status in front is for MySQL, whose
    # indexes are of all rows; elsewhere it is the same in all of them.
    lane = (column.queue, column.mode, column.name, column.rank, column.eta, column.id, column.deadline)
    _partial_index(f"ix_{prefix}task_lane", (column.status, *lane), "status = 'pending'")
    deadline = (column.status, column.deadline)
    _partial_index(f"ix_{prefix}task_deadline", deadline, "status = 'pending' AND deadline IS NOT NULL")
    _partial_index(f"ix_{prefix}task_lease", (column.lease_end,), "status = 'started'")
    _partial_index(f"ix_{prefix}task_finished", (column.finished,), "finished IS NOT NULL")
    return task


def _partial_index(name: str, columns: tuple[Column[Any], ...], where: str) -> None:
    """An index of the rows for which *where* holds; on MySQL, which has none such, of all rows."""
    # PostgreSQL does not search an index by what its condition says already, and would read all of it where a
    # column after the status is asked for. That something is between A and A does not say to it that it is A.
    between = where.replace("status = 'pending'", "status BETWEEN 'pending' AND 'pending'")
    Index(name, *columns, sqlite_where=text(where), postgresql_where=text(between))


def _unique_key(metadata: MetaData, prefix: str) -> Table:
    key = Table(
        f"{prefix}unique_key",
        metadata,
        Column("key", Key, primary_key=True),
        Column("task", Number, nullable=False),
        Column("until", Word, nullable=False),
        Column("ends", Instant),  # with until='period': when the key is free again
        Column("readable", LongText),  # the key, where `key` is not
        **_OPTIONS,
    )
    Index(f"ix_{prefix}unique_key_task", key.c.task)
    _partial_index(f"ix_{prefix}unique_key_ends", (key.c.ends,), "ends IS NOT NULL")
    return key


def _store(metadata: MetaData, prefix: str) -> Table:
    return Table(
        f"{prefix}store",
        metadata,
        Column("id", String(32), primary_key=True),  # random; made with the store
        Column("schema_version", Integer, nullable=False),
        Column("minimum_reader", Integer, nullable=False),  # the oldest code that may use this schema
        **_OPTIONS,
    )


def _version(metadata: MetaData, prefix: str) -> Table:
    name = f"{prefix}alembic_version"
    return Table(
        name,
        metadata,
        Column("version_num", String(32), nullable=False),
        PrimaryKeyConstraint("version_num", name=f"{name}_pkc"),
    )


metadata: Final = build_tables().metadata
"""The tables with the default prefix, for reading, drawing or joining. Not for ``create_all``: ``startup()``
creates and migrates them."""
