"""Distributions found, named, refused."""

from __future__ import annotations

import importlib.metadata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from types import ModuleType
from typing import Final, TypeAlias

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
from ._hookspecs import PROJECT, SCHEME, Backend

SCHEMES: Final = {
    "sqlite": "kapusta-sqlalchemy",
    "postgresql": "kapusta-sqlalchemy",
    "mysql": "kapusta-sqlalchemy",
    "mariadb": "kapusta-sqlalchemy",
    "memory": "kapusta-memory",
}
NAMES: Final = {"AlchemyCRUD": "kapusta-sqlalchemy", "MemoryCRUD": "kapusta-memory"}
"""Hints: which distribution brings a scheme or a name. The only place where core names a distribution."""

Offer: TypeAlias = tuple[str, str, Backend]
"""A scheme or a name, the distribution that provides it, and the backend."""


class Plugins:
    """The backends that installed distributions provide; filled once, when made, and then only read."""

    def __init__(self, entry_points: Sequence[importlib.metadata.EntryPoint] | None = None) -> None:
        self.backends: list[tuple[str, Backend]] = []
        """Each backend with the distribution that provides it."""
        self.broken: list[BrokenPluginError] = []
        """What could not be loaded; the others work all the same."""
        found = importlib.metadata.entry_points(group=PROJECT) if entry_points is None else entry_points
        for entry_point in found:
            distribution = _named(entry_point)
            try:
                backends = _asked(_loaded(entry_point, distribution), distribution)
                self._refuse_second_claims(distribution, backends)
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
            BrokenPluginError: what provides it made something else.
            MissingDriverError: what provides it needs a driver that is not installed.
        """
        scheme, separator, _ = url.partition("://")
        if not separator or not SCHEME.fullmatch(scheme):
            raise StoreUrlError(
                url=url,
                problem="names no kind of store",
                remedy=f"It begins with one of: {', '.join(self._schemes()) or 'none, as no backend is installed'}.",
            )
        offers = [(each, who, backend) for who, backend in self.backends for each in backend.schemes]
        distribution, backend = self._only(scheme, offers, SCHEMES, self._schemes())
        handle: object = backend.from_url(url, clock)
        if not isinstance(handle, BaseCRUD):
            raise BrokenPluginError(
                distribution=distribution,
                problem=f"for '{scheme}://' it made {handle!r}, which is no BaseCRUD",
            )
        return handle

    def export(self, name: str) -> object:
        """What a plugin gives for ``from kapusta import name``.

        Raises:
            BackendNotFoundError, MissingPluginError: nothing installed provides it.
            DuplicateBackendError: two distributions do.
        """
        offers = [(each, who, backend) for who, backend in self.backends for each in backend.exports]
        _, backend = self._only(name, offers, NAMES, sorted({each for each, _, _ in offers}))
        return backend.exports[name]()

    def _only(
        self, wanted: str, offers: list[Offer], hints: Mapping[str, str], known: Sequence[str]
    ) -> tuple[str, Backend]:
        found = [(who, backend) for each, who, backend in offers if each == wanted]
        if len(found) > 1:
            raise DuplicateBackendError(wanted=wanted, distributions=sorted(who for who, _ in found))
        if found:
            return found[0]
        hint = hints.get(wanted.partition("+")[0])
        if hint and all(who != hint for who, _ in self.backends):
            raise MissingPluginError(wanted=wanted, distribution=hint, broken=self._problems(of=hint))
        homes = {**hints, **{each: who for each, who, _ in offers}}
        raise BackendNotFoundError(
            wanted=wanted, known=known, broken=self._problems(), meant=_meant(wanted, homes)
        )

    def _refuse_second_claims(self, distribution: str, backends: Sequence[Backend]) -> None:
        # Of another distribution's claims the user is told when it matters, as either may be the one to keep.
        own = [*(each for who, each in self.backends if who == distribution), *backends]
        claims = Counter(
            claim for each in own for claim in (*(f"{s}://" for s in each.schemes), *each.exports)
        )
        for claim, times in claims.items():
            if times > 1:
                problem = f"it provides '{claim}' {times} times"
                raise BrokenPluginError(distribution=distribution, problem=problem)

    def _schemes(self) -> list[str]:
        return sorted({f"{scheme}://" for _, backend in self.backends for scheme in backend.schemes})

    def _problems(self, *, of: str | None = None) -> list[str]:
        return [
            f"{each.distribution} ({each.problem})" for each in self.broken if of in (None, each.distribution)
        ]


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
        meant = f". Did you mean {problem.meant}?" if problem.meant else ""
        raise AttributeError(f"module {module!r} has no attribute {name!r}{meant}") from problem


def _named(entry_point: importlib.metadata.EntryPoint) -> str:
    # What an interrupted installation left behind may have entry points and no metadata, so no name.
    named = entry_point.dist is not None and "Name" in entry_point.dist.metadata
    return entry_point.dist.name if entry_point.dist and named else entry_point.value


def _meant(wanted: str, homes: Mapping[str, str]) -> str | None:
    """Which of these names *wanted* may be a slip for, and who provides it."""
    import difflib

    for near in difflib.get_close_matches(wanted, homes, n=1, cutoff=0.7):
        return f"'{near}', which '{homes[near]}' provides"
    return None


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
