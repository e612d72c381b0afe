"""Is this process a child that is importing user code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from ._errors import MissingMainGuardError

_importing: str | None = None


@contextmanager
def importing_user_code(module: str) -> Iterator[None]:
    """Mark this process, for the block, as a child that imports *module* to find a task in it."""
    global _importing  # noqa: PLW0603 - a fact about the whole process has no better owner
    _importing = module
    try:
        yield
    finally:
        _importing = None


def refuse_in_import(action: str) -> None:
    """Raise if this process is a child that is only importing user code.

    Raises:
        MissingMainGuardError: it is; *action* (``"startup()"``) would happen once more per child.
    """
    if _importing is not None:
        raise MissingMainGuardError(action=action, module=_importing)
