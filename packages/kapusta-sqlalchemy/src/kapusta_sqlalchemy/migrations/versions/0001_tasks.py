"""Tasks, unique keys, and the store's own identity.

A revision says what was made then, whatever the tables have become since.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None

_number = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_mysql = ("mysql", "mariadb")
_key = sa.Text().with_variant(sa.Text(collation="C"), "postgresql").with_variant(mysql.BINARY(32), *_mysql)
_data = sa.LargeBinary().with_variant(mysql.LONGBLOB(), *_mysql)
_long_text = sa.Text().with_variant(mysql.LONGTEXT(), *_mysql)
_word = (
    sa.String(16)
    .with_variant(sa.Text(collation="C"), "postgresql")
    .with_variant(mysql.VARCHAR(16, charset="ascii", collation="ascii_bin"), *_mysql)
)
_options: dict[str, Any] = {
    f"{kind}_{name}": value
    for kind in _mysql
    for name, value in {"engine": "InnoDB", "charset": "utf8mb4", "row_format": "DYNAMIC"}.items()
}


def _text(length: int) -> sa.types.TypeEngine[str]:
    return (
        sa.String(length)
        .with_variant(sa.Text(collation="C"), "postgresql")
        .with_variant(mysql.VARBINARY(4 * length), *_mysql)
    )


def upgrade(prefix: str, schema: str | None) -> None:
    """Create the tables."""
    _create_task(f"{prefix}task", schema)
    op.create_table(
        f"{prefix}unique_key",
        sa.Column("key", _key, primary_key=True),
        sa.Column("task", _number, nullable=False),
        sa.Column("until", _word, nullable=False),
        sa.Column("ends", _number),
        sa.Column("readable", _long_text),
        schema=schema,
        **_options,
    )
    op.create_index(f"ix_{prefix}unique_key_task", f"{prefix}unique_key", ["task"], schema=schema)
    _create_partial_index(f"{prefix}unique_key", "ends", ["ends"], "ends IS NOT NULL", schema)
    store = op.create_table(
        f"{prefix}store",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("schema_version", sa.Integer, nullable=False),
        sa.Column("minimum_reader", sa.Integer, nullable=False),
        schema=schema,
        **_options,
    )
    # Made by the database: a script that is run on two of them makes two stores.
    op.execute(store.insert().inline().values(id=_random_id(), schema_version=1, minimum_reader=1))


def _random_id() -> sa.ColumnElement[str]:
    kind = op.get_context().dialect.name
    return sa.literal_column(
        {
            "sqlite": "lower(hex(randomblob(16)))",
            "postgresql": "md5(random()::text || clock_timestamp()::text || txid_current()::text)",
        }.get(kind, "REPLACE(UUID(), '-', '')")
    )


def _create_task(task: str, schema: str | None) -> None:
    op.create_table(
        task,
        sa.Column("id", _number, primary_key=True, autoincrement=False),
        sa.Column("token", _text(64), nullable=False),
        sa.Column("name", _text(255), nullable=False),
        sa.Column("payload", _data, nullable=False),
        sa.Column("codec", _text(64), nullable=False),
        sa.Column("mode", _word, nullable=False),
        sa.Column("queue", _text(255), nullable=False),
        sa.Column("rank", sa.SmallInteger, nullable=False),
        sa.Column("eta", _number, nullable=False),
        sa.Column("deadline", _number),
        sa.Column("options", _data, nullable=False),
        sa.Column("status", _word, nullable=False),
        sa.Column("run", _number, nullable=False),
        sa.Column("worker", _text(255)),
        sa.Column("lease", _number),
        sa.Column("lease_end", _number),
        sa.Column("settled_run", _number),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("crashes", sa.Integer, nullable=False),
        sa.Column("interruptions", sa.Integer, nullable=False),
        sa.Column("cancel_requested", sa.Boolean, nullable=False),
        sa.Column("result", _data),
        sa.Column("error", _long_text),
        sa.Column("reason", _long_text),
        sa.Column("created", _number, nullable=False),
        sa.Column("started", _number),
        sa.Column("finished", _number),
        schema=schema,
        **_options,
    )
    lane = ["status", "queue", "mode", "name", "rank", "eta", "id", "deadline"]
    _create_partial_index(task, "lane", lane, "status = 'pending'", schema)
    deadline = ["status", "deadline"]
    _create_partial_index(task, "deadline", deadline, "status = 'pending' AND deadline IS NOT NULL", schema)
    _create_partial_index(task, "lease", ["lease_end"], "status = 'started'", schema)
    _create_partial_index(task, "finished", ["finished"], "finished IS NOT NULL", schema)


def _create_partial_index(table: str, name: str, columns: list[str], where: str, schema: str | None) -> None:
    between = where.replace("status = 'pending'", "status BETWEEN 'pending' AND 'pending'")
    op.create_index(
        f"ix_{table}_{name}",
        table,
        columns,
        schema=schema,
        sqlite_where=sa.text(where),
        postgresql_where=sa.text(between),
    )
