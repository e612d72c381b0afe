"""What Alembic runs: our revisions, for the tables and in the transaction that the caller gives."""

from __future__ import annotations

from alembic import context

from kapusta_sqlalchemy._tables import Tables

_tables: Tables = context.config.attributes["tables"]

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=_tables.metadata,
    version_table=_tables.version.name,
    version_table_schema=_tables.schema,
)
with context.begin_transaction():
    context.run_migrations(prefix=_tables.prefix, schema=_tables.schema)
