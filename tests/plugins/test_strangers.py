"""Plugins that are broken, misspelt or missing, as an installation leaves them on the disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.sites import NONE_RAISED, Site, plugin, pretend_installed

_ANSWERING = (
    "from kapusta.backend import Backend, hookimpl\n\n\n@hookimpl\ndef kapusta_backends():\n    return {}\n"
)

BROKEN = {
    # distribution: the source of its plugin, and what is said of it
    "acme-absent": (None, "importing 'acme_absent' raised ModuleNotFoundError("),
    "acme-raises": (
        "import an_engine_that_is_missing",
        "importing 'acme_raises' raised ModuleNotFoundError(\"No module named 'an_engine_that_is_missing'\")",
    ),
    "acme-garbled": ("def kapusta_backends(:", "importing 'acme_garbled' raised SyntaxError("),
    "acme-hookless": ("", "'acme_hookless' implements no hook: mark it with @hookimpl"),
    "acme-unmarked": (
        "def kapusta_backends():\n    return []\n",
        "'acme_unmarked' implements no hook: mark it with @hookimpl",
    ),
    "acme-misspelt": (
        "from kapusta.backend import hookimpl\n\n\n@hookimpl\ndef kapusta_backend():\n    return []\n",
        "unknown hook 'kapusta_backend'",
    ),
    "acme-nonsense": (_ANSWERING.format("42"), "kapusta_backends() answered 42"),
    "acme-text": (_ANSWERING.format("'acme'"), "kapusta_backends() answered 'acme'"),
    "acme-numbers": (_ANSWERING.format("[42]"), "42 is no Backend"),
    "acme-comma": (
        _ANSWERING.format("[Backend(name='acme', schemes=('acme'), from_url=print)]"),
        "Backend(schemes='acme') is text. Write a tuple, with its comma: ('acme',)",
    ),
    "acme-slashes": (
        _ANSWERING.format("[Backend(name='acme', schemes=('acme://',), from_url=print)]"),
        "Backend(schemes=...) holds 'acme://'. Write what stands before '://'",
    ),
    "acme-twice": (
        _ANSWERING.format("[Backend(name=name, schemes=('twice',), from_url=print) for name in 'ab']"),
        "it provides 'twice://' 2 times",
    ),
}

NO_BACKEND = _ANSWERING.format(
    "[Backend(name='acme', schemes=('nothing',), from_url=lambda url, clock: None)]"
)


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory, core: Path, memory: Path, libraries: Path) -> Site:
    """The core, the memory backend, a stranger that is well, and every kind of broken one; nothing for SQL."""
    strangers = tmp_path_factory.mktemp("crowd") / "site"
    pretend_installed(strangers, "good-kapusta", plugin("good", names=["GoodCRUD"]))
    pretend_installed(strangers, "empty-kapusta", NO_BACKEND)
    for distribution, (source, _) in BROKEN.items():
        pretend_installed(strangers, distribution, source)
    return Site(strangers, core, memory, libraries)


@pytest.fixture(scope="module")
def listed(crowd: Site) -> list[str]:
    """What ``python -m kapusta backends`` prints there."""
    ran = crowd.run("-m", "kapusta", "backends")
    assert ran.returncode == 1, "something is broken, and a script is to notice"
    assert not ran.stderr, ran.stderr
    return ran.stdout.splitlines()


def at(url: str) -> str:
    """A statement that takes a URL into use."""
    return f"from kapusta import Kapusta; Kapusta({url!r})"


WELL = (at("good://"), at("memory://"), "from kapusta import GoodCRUD, MemoryCRUD")

MISSING = {
    at("sqlite:///tasks.db"): "sqlite",
    at("postgresql+asyncpg://app:secret@db/shop"): "postgresql+asyncpg",
    "from kapusta import AlchemyCRUD": "AlchemyCRUD",
    "from kapusta.crud import AlchemyCRUD": "AlchemyCRUD",
}

MISSPELT = {
    "sqllite:///tasks.db": "'sqlite', which 'kapusta-sqlalchemy' provides",
    "postgres://app:secret@db/shop": "'postgresql', which 'kapusta-sqlalchemy' provides",
    "memry://": "'memory', which 'kapusta-memory' provides",
    "goood://": "'good', which 'good-kapusta' provides",
}

UNKNOWN_NAMES = {
    "import kapusta; kapusta.AlchemyCrud": (
        "AttributeError: module 'kapusta' has no attribute 'AlchemyCrud'. "
        "Did you mean 'AlchemyCRUD', which 'kapusta-sqlalchemy' provides?"
    ),
    "import kapusta; kapusta.GodCRUD": (
        "AttributeError: module 'kapusta' has no attribute 'GodCRUD'. "
        "Did you mean 'GoodCRUD', which 'good-kapusta' provides?"
    ),
    "from kapusta import MemoryCrud": "ImportError: cannot import name 'MemoryCrud' from 'kapusta' (",
}

OTHERS = (at("acme://"), at("nothing://"), at("rabbit://"))


@pytest.fixture(scope="module")
def said(crowd: Site) -> dict[str, str]:
    """What each attempt came to there."""
    return crowd.outcomes([*WELL, *MISSING, *map(at, MISSPELT), *UNKNOWN_NAMES, *OTHERS])


@pytest.mark.parametrize("distribution", BROKEN)
def test_a_broken_plugin_is_listed_by_its_distribution_with_the_remedy(
    listed: list[str], distribution: str
) -> None:
    """``python -m kapusta backends`` says whose plugin is broken, why, and what to do."""
    _, problem = BROKEN[distribution]

    (line,) = [line for line in listed if f"'{distribution}'" in line]

    assert line.startswith(f"broken: The plugin of distribution '{distribution}' is broken: ")
    assert problem in line
    assert line.endswith(". Upgrade or uninstall it.")


def test_nobody_else_is_called_broken(listed: list[str]) -> None:
    """As many lines as there are broken plugins, and the others are listed as what they are."""
    assert sum(line.startswith("broken: ") for line in listed) == len(BROKEN)
    assert any("from good-kapusta" in line for line in listed)
    assert any("from kapusta-memory" in line for line in listed)


@pytest.mark.parametrize("attempt", WELL)
def test_broken_plugins_take_no_other_down(said: dict[str, str], attempt: str) -> None:
    """Between a dozen broken ones, the backends that are well are found by their URLs and names."""
    assert said[attempt] == NONE_RAISED


def test_a_url_that_nobody_serves_tells_of_the_broken_ones(said: dict[str, str]) -> None:
    """The one that would have served it may be among them, so each is named with its problem."""
    message = said[at("acme://")]

    assert message.startswith(
        "BackendNotFoundError: No installed backend provides 'acme'. Installed: good://, "
    )
    assert [distribution for distribution in BROKEN if f"{distribution} (" not in message] == []


def test_a_factory_that_makes_no_backend_is_named(said: dict[str, str]) -> None:
    """A plugin that forgets to return its handle is at fault, not whoever wrote the URL."""
    message = said[at("nothing://")]

    assert message.startswith("BrokenPluginError: The plugin of distribution 'empty-kapusta' is broken: for ")
    assert "'nothing://' it made None, which is no BaseCRUD. Upgrade or uninstall it." in message


@pytest.mark.parametrize(("attempt", "wanted"), MISSING.items())
def test_a_backend_of_ours_that_is_missing_says_what_to_install(
    said: dict[str, str], attempt: str, wanted: str
) -> None:
    """An ImportError with the command; broken strangers have no part in it, and a password is not repeated."""
    assert said[attempt] == (
        f"MissingPluginError: '{wanted}' comes with 'kapusta-sqlalchemy'. "
        f"Install it: pip install kapusta-sqlalchemy"
    )


@pytest.mark.parametrize(("url", "meant"), MISSPELT.items())
def test_a_misspelt_scheme_names_the_one_that_was_meant(said: dict[str, str], url: str, meant: str) -> None:
    """With the distribution that provides it, installed or not; a password is not repeated."""
    message = said[at(url)]

    slip = url.partition(":")[0]
    assert message.startswith(f"BackendNotFoundError: No installed backend provides '{slip}'. Installed: ")
    assert f" Did you mean {meant}? " in message
    assert "secret" not in message


def test_a_scheme_that_is_like_no_other_is_not_guessed_at(said: dict[str, str]) -> None:
    """A wrong guess would send the reader astray."""
    message = said[at("rabbit://")]

    assert "Did you mean" not in message
    assert message.endswith("Install the distribution that provides it, or check the spelling.")


@pytest.mark.parametrize(("attempt", "message"), UNKNOWN_NAMES.items())
def test_a_misspelt_name_is_an_ordinary_error(said: dict[str, str], attempt: str, message: str) -> None:
    """An attribute says which was meant; for ``from kapusta import`` Python has words of its own."""
    assert said[attempt].startswith(message)


def test_a_backend_of_ours_that_is_broken_says_how_to_mend_it(
    tmp_path: Path, core: Path, libraries: Path
) -> None:
    """It is installed, so to install it would do nothing: the reason is given, and what helps."""
    pretend_installed(tmp_path / "site", "kapusta-sqlalchemy", "import an_engine_that_is_missing")
    pretend_installed(tmp_path / "site", "acme-raises", "raise ValueError('a stranger has trouble too')")

    message = Site(tmp_path / "site", core, libraries).outcome("from kapusta import AlchemyCRUD")

    assert message.startswith("MissingPluginError: 'AlchemyCRUD' comes with 'kapusta-sqlalchemy' (broken: ")
    assert "No module named 'an_engine_that_is_missing'" in message
    assert message.endswith("Mend it: pip install --force-reinstall kapusta-sqlalchemy")
    assert "acme" not in message
