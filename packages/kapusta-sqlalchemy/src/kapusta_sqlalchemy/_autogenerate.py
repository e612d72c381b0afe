"""For a user's own Alembic: which tables are Kapusta's, whatever their prefix and schema."""

from __future__ import annotations

from typing import Final

from sqlalchemy import Table

from ._tables import metadata

_BY_NAME: Final = frozenset(table.name for table in metadata.tables.values())
# What a store's tables have had since the first revision, so that an older store is known, too. A table is ours if its
# name ends so and it has all of these columns, whatever its prefix, which nobody can forget to tell.
_BY_COLUMNS: Final = {
    "task": {
        *("id", "token", "name", "payload", "codec", "mode", "queue", "rank", "eta", "deadline", "options"),
        *("status", "run", "worker", "lease", "lease_end", "settled_run", "failures", "crashes", "created"),
    },
    "unique_key": {"key", "task", "until", "ends", "readable"},
    "store": {"id", "schema_version", "minimum_reader"},
}
_VERSION: Final = "alembic_version"


def include_object(thing: object, name: str | None, kind: str, reflected: bool, compare_to: object) -> bool:  # noqa: ARG001 - Alembic's signature
    """For a user's own Alembic ``env.py``: leaves Kapusta's tables out of autogenerate.

    Pass it as ``context.configure(include_object=include_object)``. It knows the tables by their columns, so
    whatever prefix and schema they have. A table with the versions of another Alembic, which looks as Kapusta's
    own, is not dropped either.
    """
    table = thing if isinstance(thing, Table) else getattr(thing, "table", None)
    if not isinstance(table, Table):
        return True
    is_in_database_only = kind == "table" and reflected and compare_to is None
    return not (_is_ours(table) or (is_in_database_only and _is_version(table)))


def _is_ours(table: Table) -> bool:
    columns = set(table.columns.keys())
    return table.name in _BY_NAME or any(
        table.name.endswith(end) and columns >= known for end, known in _BY_COLUMNS.items()
    )


def _is_version(table: Table) -> bool:
    return table.name.endswith(_VERSION) and set(table.columns.keys()) == {"version_num"}
