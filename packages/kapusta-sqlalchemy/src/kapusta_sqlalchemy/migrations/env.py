"""What Alembic runs: our revisions, for the tables that the caller gives, in its transaction or as a script."""

from __future__ import annotations

from alembic import context
from sqlalchemy import Connection
from sqlalchemy.schema import CreateSchema

from kapusta_sqlalchemy._tables import Tables

_tables: Tables = context.config.attributes["tables"]
_connection: Connection | None = context.config.attributes.get("connection")
_script_for: str | None = context.config.attributes.get("script_for")

context.configure(
    connection=_connection,
    dialect_name=_script_for,
    dialect_opts={"paramstyle": "named"},  # of a script; it leaves a per cent sign as it is
    literal_binds=_script_for is not None,
    transactional_ddl=None if _script_for is None else _script_for != "mysql",
    target_metadata=_tables.metadata,
    version_table=_tables.version.name,
    version_table_schema=_tables.schema,
)

with context.begin_transaction():
    if _script_for == "postgresql" and _tables.schema is not None:
        context.execute(CreateSchema(_tables.schema, if_not_exists=True))  # as `startup()` does
    context.run_migrations(prefix=_tables.prefix, schema=_tables.schema)
