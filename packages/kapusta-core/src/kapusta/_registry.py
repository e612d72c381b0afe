"""The tasks of one Kapusta, by name and alias."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any, Final

from ._arguments import decode_unknown
from ._codec import Codecs
from ._errors import DuplicateTaskError
from ._naming import module_of
from ._records import StoredTask
from ._spec import TaskSpec

_LISTED: Final = 10
"""So many names still fit into a line."""


class Registry:
    """Which function runs a stored name; written by whoever registers tasks, in the thread that does."""

    def __init__(self, codecs: Codecs) -> None:
        self._codecs = codecs
        self._by_name: dict[str, TaskSpec] = {}
        self.names: frozenset[str] = frozenset()
        """All names and aliases that a worker with this registry knows."""

    def add(self, spec: TaskSpec) -> None:
        """Register *spec* under its name and its aliases.

        Raises:
            DuplicateTaskError: one of them is taken.
        """
        names = (spec.name, *spec.aliases)
        for name in names:
            if name in self._by_name or names.count(name) > 1:
                first = self._by_name.get(name, spec)
                raise DuplicateTaskError(name=name, first=_place(first), second=_place(spec))
        self._by_name.update(dict.fromkeys(names, spec))
        self.names = frozenset(self._by_name)

    def get(self, name: str) -> TaskSpec | None:
        """The task that runs what is stored under *name*."""
        return self._by_name.get(name)

    def result_of(self, task: StoredTask) -> Any:
        """The decoded result of a stored task, whether its function is known here or not.

        Raises:
            ResultUnreadableError: see `Arguments.decode_result`.
        """
        spec, data = self.get(task.name), task.result or b""
        if spec is None:
            return decode_unknown(self._codecs, data, codec=task.codec, stored_as=task.name)
        return spec.arguments.decode_result(data, codec=task.codec, stored_as=task.name)

    def in_words(self) -> str:
        """How many tasks there are, and the first of them, for people."""
        names = [spec.name for spec in self]
        if not names:
            return "no tasks"
        listed = ", ".join(names[:_LISTED]) + (
            f" and {more} more" if (more := len(names) - _LISTED) > 0 else ""
        )
        return f"{len(names)} task{'s' if len(names) > 1 else ''}: {listed}"

    def __iter__(self) -> Iterator[TaskSpec]:
        return iter(dict.fromkeys(self._by_name.values()))


def _place(spec: TaskSpec) -> str:
    function = spec.function
    code = getattr(inspect.unwrap(function), "__code__", None)
    line = f", {code.co_filename}:{code.co_firstlineno}" if code else ""
    return f"{module_of(function)}.{getattr(function, '__qualname__', function)} (task '{spec.name}'{line})"
