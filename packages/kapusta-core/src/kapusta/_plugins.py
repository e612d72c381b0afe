"""Distributions found, named, refused."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Final

import pluggy

from . import _hookspecs
from ._clock import Clock
from ._crud import BaseCRUD
from ._errors import (
    BackendNotFoundError,
    BrokenPluginError,
    DuplicateBackendError,
    MissingPluginError,
    StoreUrlError,
)
from ._hookspecs import PROJECT, Backend

DISTRIBUTIONS: Final = {
    "AlchemyCRUD": "kapusta-sqlalchemy",
    "sqlite": "kapusta-sqlalchemy",
    "postgresql": "kapusta-sqlalchemy",
    "mysql": "kapusta-sqlalchemy",
    "mariadb": "kapusta-sqlalchemy",
    "MemoryCRUD": "kapusta-memory",
    "memory": "kapusta-memory",
}
"""Hints: which distribution brings a name or a scheme. The only place where core names a distribution."""


class Plugins:
    """The backends that installed distributions provide; filled once, when made, and then only read."""

    def __init__(self, entry_points: Sequence[importlib.metadata.EntryPoint] | None = None) -> None:
        self.backends: list[tuple[str, Backend]] = []
        """Each backend with the distribution that provides it."""
        self.broken: list[BrokenPluginError] = []
        """What could not be loaded; the others work all the same."""
        found = importlib.metadata.entry_points(group=PROJECT) if entry_points is None else entry_points
        for entry_point in found:
            distribution = entry_point.dist.name if entry_point.dist else entry_point.value
            try:
                backends = _asked(_loaded(entry_point, distribution), distribution)
            except BrokenPluginError as problem:
                self.broken.append(problem)
            else:
                self.backends.extend((distribution, backend) for backend in backends)

    def from_url(self, url: str, clock: Clock | None = None) -> BaseCRUD:
        """A handle, not started, to the store that *url* leads to.

        Raises:
            StoreUrlError: it is no URL.
            BackendNotFoundError, MissingPluginError: nothing installed provides its scheme.
            DuplicateBackendError: two distributions do.
        """
        scheme, separator, _ = url.partition("://")
        if not separator:
            raise StoreUrlError(
                url=re.sub(r":[^:/@]+@", ":***@", url),
                problem="names no kind of store",
                remedy=f"It begins with one of: {', '.join(self._schemes()) or 'none, as no backend is installed'}.",
            )
        backend = self._only(
            scheme, [(who, each) for who, each in self.backends if scheme in each.schemes], self._schemes()
        )
        return backend.from_url(url, clock)

    def export(self, name: str) -> object:
        """What a plugin gives for ``from kapusta import name``.

        Raises:
            BackendNotFoundError, MissingPluginError: nothing installed provides it.
            DuplicateBackendError: two distributions do.
        """
        named = [(who, each) for who, each in self.backends if name in each.exports]
        return self._only(name, named, [n for _, each in self.backends for n in each.exports]).exports[name]()

    def _only(self, wanted: str, found: list[tuple[str, Backend]], known: Sequence[str]) -> Backend:
        if len(found) > 1:
            raise DuplicateBackendError(wanted=wanted, distributions=sorted(who for who, _ in found))
        if found:
            return found[0][1]
        hint = DISTRIBUTIONS.get(wanted.partition("+")[0])
        if hint and all(who != hint for who, _ in self.backends):
            raise MissingPluginError(wanted=wanted, distribution=hint, broken=self._problems())
        raise BackendNotFoundError(wanted=wanted, known=sorted(known), broken=self._problems())

    def _schemes(self) -> list[str]:
        return sorted({f"{scheme}://" for _, backend in self.backends for scheme in backend.schemes})

    def _problems(self) -> list[str]:
        return [f"{each.distribution} ({each.problem})" for each in self.broken]


_installed: Plugins | None = None


def installed() -> Plugins:
    """The plugins of this environment, looked up once."""
    global _installed  # noqa: PLW0603 - installed distributions are a fact about the whole process
    if _installed is None:
        _installed = Plugins()
    return _installed


def export(name: str, *, module: str) -> object:
    """What a module whose ``__getattr__`` is asked for *name* answers.

    Raises:
        AttributeError: no plugin exports it, and no distribution is known to.
        MissingPluginError, DuplicateBackendError: see `Plugins.export`.
    """
    try:
        return installed().export(name)
    except MissingPluginError:
        raise  # an ImportError: `from kapusta import ...` would swallow the text of an AttributeError
    except BackendNotFoundError as problem:
        raise AttributeError(f"module {module!r} has no attribute {name!r}") from problem


def _loaded(entry_point: importlib.metadata.EntryPoint, distribution: str) -> ModuleType:
    try:
        plugin = entry_point.load()
    except Exception as problem:
        raise BrokenPluginError(
            distribution=distribution, problem=f"importing '{entry_point.value}' raised {problem!r}"
        ) from problem
    if not isinstance(plugin, ModuleType):
        raise BrokenPluginError(distribution=distribution, problem=f"'{entry_point.value}' is no module")
    return plugin


def _asked(plugin: ModuleType, distribution: str) -> list[Backend]:
    # One manager per plugin: an error or a bad answer of one then has one author.
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(_hookspecs)
    try:
        manager.register(plugin)
        manager.check_pending()
        answers = manager.hook.kapusta_backends()
    except Exception as problem:
        raise BrokenPluginError(
            distribution=distribution, problem=f"asking it raised {problem!r}"
        ) from problem
    if not answers:
        raise BrokenPluginError(
            distribution=distribution,
            problem=f"'{plugin.__name__}' implements no hook: mark it with @hookimpl",
        )
    return list(_checked(answers, distribution))


def _checked(answers: Sequence[object], distribution: str) -> Iterator[Backend]:
    for answer in answers:
        if isinstance(answer, (str, bytes)) or not isinstance(answer, Sequence):
            raise BrokenPluginError(
                distribution=distribution, problem=f"kapusta_backends() answered {answer!r}"
            )
        for backend in answer:
            if not isinstance(backend, Backend):
                raise BrokenPluginError(distribution=distribution, problem=f"{backend!r} is no Backend")
            yield backend
