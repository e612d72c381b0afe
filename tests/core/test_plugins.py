"""Distributions found, named, refused."""

from __future__ import annotations

import importlib.metadata
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

import kapusta
from kapusta import (
    BackendNotFoundError,
    BaseCRUD,
    BrokenPluginError,
    DuplicateBackendError,
    Kapusta,
    KapustaError,
    MissingPluginError,
    StoreUrlError,
    _plugins,
)
from kapusta._clock import Clock
from kapusta._plugins import Plugins
from kapusta.backend import Backend, hookimpl
from kapusta_memory import MemoryCRUD


class Distribution(importlib.metadata.Distribution):
    """One that is not installed, with a name."""

    def __init__(self, name: str) -> None:
        self._name = name

    @property
    def metadata(self) -> Any:
        """The name is all there is."""
        return {"Name": self._name}

    def read_text(self, filename: str) -> None:
        """There are no files."""

    def locate_file(self, path: object) -> Any:
        """There are no files."""
        raise NotImplementedError


class EntryPoint(importlib.metadata.EntryPoint):
    """Leads to whatever a test puts behind it."""

    def load(self) -> object:
        """Load it, or raise what it raises."""
        return vars(self)["load_"]()


def entry_point(distribution: str, load: Callable[[], object]) -> importlib.metadata.EntryPoint:
    """What a distribution would have registered."""
    point = EntryPoint(name="x", value=f"{distribution}.plugin", group="kapusta")
    vars(point).update(dist=Distribution(distribution), load_=load)
    return point


def module(answer: Callable[[], object] | None, mark: Callable[[Any], Any] = hookimpl) -> ModuleType:
    """A plugin module whose hook answers so."""
    plugin = ModuleType("acme_plugin")
    if answer is not None:

        def kapusta_backends() -> object:
            return answer()

        vars(plugin)["kapusta_backends"] = mark(kapusta_backends)
    return plugin


def backend(name: str, *schemes: str, **exports: Callable[[], object]) -> Backend:
    """A kind of store."""

    def from_url(url: str, clock: Clock | None) -> BaseCRUD:
        return MemoryCRUD(clock=clock)

    return Backend(name=name, schemes=schemes, from_url=from_url, exports=exports)


GOOD = entry_point("good", lambda: module(lambda: [backend("good", "good", GoodCRUD=lambda: "the class")]))


def raising(error: BaseException) -> Callable[[], object]:
    """What raises it."""

    def load() -> object:
        raise error

    return load


BROKEN = {
    "its import fails": (
        raising(ImportError("no engine")),
        "importing 'acme.plugin' raised ImportError('no engine')",
    ),
    "its import divides by zero": (
        raising(ZeroDivisionError()),
        "importing 'acme.plugin' raised ZeroDivisionError()",
    ),
    "it is no module": (lambda: "a string", "'acme.plugin' is no module"),
    "it has no hook": (lambda: module(None), "implements no hook: mark it with @hookimpl"),
    "its hook is not marked": (lambda: module(list, mark=lambda f: f), "implements no hook"),
    "its hook raises": (lambda: module(raising(KeyError("k"))), "asking it raised KeyError('k')"),
    "it answers text": (lambda: module(lambda: "good"), "kapusta_backends() answered 'good'"),
    "it answers one backend": (
        lambda: module(lambda: backend("b", "b")),
        "kapusta_backends() answered Backend(",
    ),
    "it answers nonsense": (lambda: module(lambda: [5]), "5 is no Backend"),
}


@pytest.mark.parametrize(("load", "problem"), BROKEN.values(), ids=BROKEN)
def test_a_broken_plugin_is_named_and_harms_no_other(load: Callable[[], object], problem: str) -> None:
    """The fault is reported by its distribution; the backends of others work all the same."""
    plugins = Plugins([entry_point("acme", load), GOOD])

    assert isinstance(plugins.from_url("good://x"), MemoryCRUD)
    (broken,) = plugins.broken
    assert isinstance(broken, BrokenPluginError)
    assert broken.distribution == "acme"
    assert problem in broken.problem
    with pytest.raises(BackendNotFoundError, match=r"Broken plugins: acme \("):
        plugins.from_url("acme://x")


def test_a_plugin_with_a_misspelt_hook_is_broken() -> None:
    """A hook that nobody calls is a slip, and not an answer."""

    @hookimpl
    def kapusta_backend() -> list[Backend]:
        return []

    plugin = ModuleType("acme_plugin")
    vars(plugin)["kapusta_backend"] = kapusta_backend

    (broken,) = Plugins([entry_point("acme", lambda: plugin)]).broken

    assert "kapusta_backend" in broken.problem


def test_two_distributions_with_one_scheme_are_refused_with_both_named() -> None:
    """Neither silently shadows the other; their other schemes go on working."""
    plugins = Plugins(
        [
            entry_point("acme-b", lambda: module(lambda: [backend("b", "shared", "b")])),
            entry_point("acme-a", lambda: module(lambda: [backend("a", "shared", "a")])),
        ]
    )

    with pytest.raises(DuplicateBackendError, match="more than one distribution: acme-a, acme-b"):
        plugins.from_url("shared://x")
    assert isinstance(plugins.from_url("a://x"), MemoryCRUD)
    assert isinstance(plugins.from_url("b://x"), MemoryCRUD)


def test_two_distributions_that_export_one_name_are_refused_with_both_named() -> None:
    """``from kapusta import NAME`` never depends on the order in which things were installed."""
    points = [
        entry_point(who, lambda: module(lambda: [backend("x", "x", NewCRUD=lambda: "class")]))
        for who in ("acme", "kapusta-new")
    ]

    with pytest.raises(DuplicateBackendError) as caught:
        Plugins(points).export("NewCRUD")

    assert caught.value.distributions == ("acme", "kapusta-new")


@pytest.mark.parametrize(
    ("url", "error", "words"),
    [
        ("sqlite:///tasks.db", MissingPluginError, "pip install kapusta-sqlalchemy"),
        ("postgresql+asyncpg://u:secret@h/db", MissingPluginError, "'postgresql+asyncpg' comes with"),
        ("memory://", MissingPluginError, "pip install kapusta-memory"),
        ("redis://host", BackendNotFoundError, "provides 'redis'. Installed: good://."),
        ("Good://x", BackendNotFoundError, "check the spelling"),
        ("good:/x", StoreUrlError, "names no kind of store. It begins with one of: good://"),
        ("postgresql:/u:secret@host", StoreUrlError, "u:***@host"),
        ("", StoreUrlError, "names no kind of store"),
    ],
)
def test_a_url_that_leads_to_no_backend(url: str, error: type[KapustaError], words: str) -> None:
    """The message says what to install, or what is there; a password is never repeated."""
    with pytest.raises(error) as caught:
        Plugins([GOOD]).from_url(url)

    assert words in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_clock_is_handed_on() -> None:
    """A backend made from a URL lives by the clock of whoever asked."""
    from kapusta.testing import ManualClock

    clock = ManualClock()

    assert Plugins([GOOD]).from_url("good://", clock).clock is clock


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Pretend that these, and no others, are installed."""

    def pretend(*points: importlib.metadata.EntryPoint) -> None:
        monkeypatch.setattr(_plugins, "_installed", Plugins(points))

    return pretend


def test_an_export_is_an_attribute_of_the_door(installed: Callable[..., None]) -> None:
    """``from kapusta import GoodCRUD`` gives what the plugin loads."""
    installed(GOOD)

    from kapusta import GoodCRUD  # type: ignore[attr-defined]  # hidden from type checkers on purpose

    assert GoodCRUD == "the class"


@pytest.mark.parametrize("door", ["kapusta", "kapusta.crud"])
def test_a_known_name_whose_distribution_is_missing_says_what_to_install(
    installed: Callable[..., None], door: str
) -> None:
    """An ImportError: the text of an AttributeError would be lost in ``from kapusta import ...``."""
    installed(GOOD)

    with pytest.raises(ImportError, match="pip install kapusta-sqlalchemy"):
        exec(f"from {door} import AlchemyCRUD")  # noqa: S102 - the statement is the subject


def test_a_known_name_whose_plugin_is_broken_says_why(installed: Callable[..., None]) -> None:
    """Installing it again is no help where it is there and cannot be loaded."""
    installed(entry_point("kapusta-sqlalchemy", raising(ImportError("no greenlet"))))

    with pytest.raises(ImportError, match=r"broken: kapusta-sqlalchemy \(.*no greenlet"):
        exec("from kapusta import AlchemyCRUD")  # noqa: S102 - the statement is the subject


@pytest.mark.parametrize("name", ["AlchemyCrud", "Kapsta", "__path_hooks__", "_private"])
def test_an_unknown_name_is_an_ordinary_attribute_error(installed: Callable[..., None], name: str) -> None:
    """``hasattr``, ``dir`` and tools that look around meet nothing unusual."""
    installed(GOOD)

    with pytest.raises(AttributeError, match=f"module 'kapusta' has no attribute '{name}'"):
        getattr(kapusta, name)
    assert not hasattr(kapusta, name)


def test_an_instance_needs_no_plugin(installed: Callable[..., None]) -> None:
    """Names are convenience."""
    installed()
    crud = MemoryCRUD()

    assert Kapusta(crud).crud is crud


def test_looking_for_plugins_imports_no_engine() -> None:
    """What is installed here is found, and nothing heavy is loaded for it."""
    import subprocess

    program = (
        "import sys; from kapusta._plugins import installed; found = installed(); "
        "print(sorted(who for who, _ in found.backends), found.broken, 'sqlalchemy' in sys.modules)"
    )

    ran = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )

    assert "'kapusta-memory'" in ran.stdout
    assert "'kapusta-sqlalchemy'" in ran.stdout
    assert ran.stdout.strip().endswith("[] False")
