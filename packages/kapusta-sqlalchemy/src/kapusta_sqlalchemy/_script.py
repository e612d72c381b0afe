"""The migration as SQL, for somebody else to run."""

from __future__ import annotations

from io import StringIO

from sqlalchemy import URL

from ._dialects import kind_of
from ._migrate import alembic_config
from ._tables import Tables


class UnknownRevisionError(ValueError):
    """A store is said to have a revision that was never made."""

    def __init__(self, *, revision: str, known: list[str]) -> None:
        self.revision, self.known = revision, known
        super().__init__(f"There is no revision {revision!r}. Known are: {', '.join(known)}.")


def script(url: URL, tables: Tables, *, start: str | None = None) -> str:
    """What brings the tables to the last revision; neither the database nor its driver is touched.

    Args:
        url: where it is to be run; only the kind of database matters.
        tables: whose names are written.
        start: the revision that the store has; ``None``: there is no store.

    Raises:
        StoreUrlError: no such database is known here.
        UnknownRevisionError: *start* is none of ours.
    """
    from alembic import command
    from alembic.script import ScriptDirectory

    # What is written for MySQL both servers understand, and URLs of both kinds lead to either.
    kind = kind_of(url).replace("mariadb", "mysql")
    config = alembic_config(tables, script_for=kind)
    known = [each.revision for each in ScriptDirectory.from_config(config).walk_revisions()]
    if start is not None and start not in known:
        raise UnknownRevisionError(revision=start, known=known)
    written = config.output_buffer = StringIO()
    command.upgrade(config, "head" if start is None else f"{start}:head", sql=True)
    return written.getvalue()
