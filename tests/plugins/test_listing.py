"""What ``python -m kapusta backends`` says of backends that are installed, and cannot be used all the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.plugins.sites import Site, plugin, pretend_installed, unpack


@pytest.fixture
def sql(tmp_path: Path, wheels: dict[str, Path]) -> Path:
    """A site that holds the SQL backend alone: none but the driver of SQLite is among the libraries."""
    return unpack(wheels["kapusta-sqlalchemy"], tmp_path / "sql")


def test_a_missing_driver_is_listed_with_what_installs_it(sql: Path, core: Path, libraries: Path) -> None:
    """The schemes that need it are told apart from those that can be used; nothing is broken, so the code is 0."""
    listed = Site(sql, core, libraries).output("-m", "kapusta", "backends").splitlines()

    assert listed[0] == "sqlalchemy, from kapusta-sqlalchemy, names: AlchemyCRUD"
    facts = dict(zip(listed[1::2], listed[2::2], strict=True))
    assert facts["  sqlite://, sqlite+aiosqlite://"].startswith(
        "    shared between processes, survives restart"
    )
    assert facts["  postgresql://, postgresql+asyncpg://"] == (
        '    needs asyncpg, which is not installed. Run: pip install "kapusta-sqlalchemy[postgresql]"'
    )
    assert facts["  mysql://, mysql+aiomysql://, mariadb://, mariadb+aiomysql://"] == (
        '    needs aiomysql, which is not installed. Run: pip install "kapusta-sqlalchemy[mysql]"'
    )


def test_a_url_whose_driver_is_missing_is_refused_where_it_is_used(
    sql: Path, core: Path, libraries: Path
) -> None:
    """As one whose plugin is missing: when it is given, not when the application starts; no password is shown."""
    said = Site(sql, core, libraries).outcome(
        "from kapusta import Kapusta; Kapusta('postgresql://app:secret@db/shop')"
    )

    assert said == (
        "MissingDriverError: The store URL 'postgresql://app:***@db/shop' needs 'asyncpg'. "
        'Install it: pip install "kapusta-sqlalchemy[postgresql]"'
    )


def test_a_scheme_that_two_provide_is_listed_as_broken(
    tmp_path: Path, core: Path, memory: Path, libraries: Path
) -> None:
    """Both are named at the scheme, what only one has is listed as usual, and a script notices by the exit code."""
    pretend_installed(tmp_path / "site", "acme-memory", plugin("memory", "acme"))

    ran = Site(tmp_path / "site", core, memory, libraries).run("-m", "kapusta", "backends")

    broken = (
        "  memory://\n    broken: Backend 'memory' is provided by more than one distribution: acme-memory, "
        "kapusta-memory. Uninstall all but one.\n"
    )
    assert ran.stdout.count(broken) == 2
    assert "  acme://\n    pushes wakeups" in ran.stdout
    assert ran.returncode == 1


LATER = """
from kapusta.backend import Backend, BaseCRUD, hookimpl
from kapusta_memory import MemoryCRUD


class LaterCRUD(MemoryCRUD):
    protocol = BaseCRUD.protocol + 1


@hookimpl
def kapusta_backends():
    return [Backend(name="later", schemes=("later",), from_url=lambda url, clock: LaterCRUD(clock=clock))]
"""


def test_a_backend_of_a_later_protocol_is_listed_with_what_to_upgrade(
    tmp_path: Path, core: Path, memory: Path, libraries: Path
) -> None:
    """It is there and cannot be used: the list says so before an application does."""
    pretend_installed(tmp_path / "site", "later-kapusta", LATER)

    ran = Site(tmp_path / "site", core, memory, libraries).run("-m", "kapusta", "backends")

    assert (
        "later, from later-kapusta\n  later://\n    broken: later_kapusta.LaterCRUD was written for"
        in ran.stdout
    )
    assert "Run: pip install --upgrade kapusta-core\n" in ran.stdout
    assert ran.returncode == 1
