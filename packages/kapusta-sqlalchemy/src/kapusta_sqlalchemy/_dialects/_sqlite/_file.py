"""The file that a URL means."""

from __future__ import annotations

from pathlib import Path
from typing import Final
from urllib.parse import parse_qs, unquote, urlsplit

from sqlalchemy import URL

from kapusta.backend import StoreUrlError

_INSTEAD: Final = (
    "Use memory:// for tasks that may be forgotten, or name a file: sqlite+aiosqlite:///tasks.db."
)

_OPTIONS: Final = frozenset(
    {"uri", "timeout", "isolation_level", "detect_types", "check_same_thread", "cached_statements"}
)
"""What SQLAlchemy passes on to Python's module."""


def path_of(url: URL) -> Path:
    """The absolute path of the database.

    Raises:
        StoreUrlError: there is none that another connection could open.
    """
    database = url.database or ""
    query: dict[str, list[str]] = {name: [str(value)] for name, value in url.query.items()}
    if database.startswith("file:"):
        parts = urlsplit(database)
        database, query = unquote(parts.path), {**query, **parse_qs(parts.query)}
    if database in {"", ":memory:"} or query.get("mode") == ["memory"]:
        raise in_memory(url)
    return Path(database).absolute()


def in_memory(url: URL) -> StoreUrlError:
    """What to raise where there is no file."""
    return StoreUrlError(
        url=shown(url),
        problem="is a database in memory, which every connection would have for itself",
        remedy=_INSTEAD,
    )


def check_path(url: URL) -> Path:
    """The path, if a database can be there.

    Raises:
        StoreUrlError: its folder does not exist, or it is a folder itself.
    """
    path = path_of(url)
    if not path.parent.is_dir():
        raise StoreUrlError(
            url=shown(url),
            problem=f"leads into the folder {path.parent}, which does not exist",
            remedy="Create the folder, or name another.",
        )
    if path.is_dir():
        raise StoreUrlError(url=shown(url), problem=f"leads to {path}, a folder", remedy="Name a file in it.")
    return path


def check_options(url: URL) -> None:
    """Refuse what SQLAlchemy would ignore with a warning: options that neither Python's module nor SQLite takes.

    Raises:
        StoreUrlError: there is one.
    """
    # With "uri=true" all others are SQLite's own, which alone knows them.
    if unknown := set() if "uri" in url.query else url.query.keys() - _OPTIONS:
        raise StoreUrlError(
            url=shown(url),
            problem=f"has an option that the driver does not take: {', '.join(sorted(unknown))}",
            remedy=f"Choose of: {', '.join(sorted(_OPTIONS))}; those of SQLite itself need uri=true beside them.",
        )


def identity(path: Path) -> tuple[int, int] | None:
    """Which file is at *path* now; ``None``: none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def log_of(path: Path) -> Path:
    """Return where SQLite keeps the write-ahead log of the database at *path*."""
    return path.with_name(f"{path.name}-wal")


def shown(url: URL) -> str:
    """The URL for people."""
    return url.render_as_string(hide_password=True)
