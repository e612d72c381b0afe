"""A backend that was written for another version of the protocol than the core speaks."""

from __future__ import annotations

from pathlib import Path

import pytest

from kapusta import BackendTooNewError, BaseCRUD, Kapusta
from kapusta_jsonfile import JsonFileCRUD
from kapusta_memory import MemoryCRUD
from kapusta_sqlalchemy import AlchemyCRUD
from tests.plugins.sites import Site, pretend_installed


class LaterCRUD(MemoryCRUD):
    """Knows more than this core asks for, and may count on being asked."""

    protocol = BaseCRUD.protocol + 1


class EarlierCRUD(MemoryCRUD):
    """Knows what the protocol was before its last addition, which has a default."""

    protocol = BaseCRUD.protocol - 1


LATER = """
from kapusta.backend import Backend, BaseCRUD, hookimpl
from kapusta_memory import MemoryCRUD


class LaterCRUD(MemoryCRUD):
    protocol = BaseCRUD.protocol + 1


@hookimpl
def kapusta_backends():
    return [Backend(name="later", schemes=("later",), from_url=lambda url, clock: LaterCRUD(clock=clock))]
"""


def test_a_handle_of_a_later_protocol_is_refused_with_the_remedy() -> None:
    """When it is taken into use, before it could be asked wrongly: which class, which versions, what to upgrade."""
    with pytest.raises(BackendTooNewError) as caught:
        Kapusta(crud=LaterCRUD())

    speaks = BaseCRUD.protocol
    assert (caught.value.needs, caught.value.speaks) == (speaks + 1, speaks)
    assert str(caught.value) == (
        f"{__name__}.LaterCRUD was written for version {speaks + 1} of the backend protocol, and this kapusta-core "
        f"speaks version {speaks}. Run: pip install --upgrade kapusta-core"
    )


def test_put_under_an_application_for_a_test_it_is_refused_too() -> None:
    """And the application keeps the store that it had."""
    kapusta = Kapusta(crud=MemoryCRUD())
    before = kapusta.crud

    with pytest.raises(BackendTooNewError, match=r"LaterCRUD was written for"), kapusta.using(LaterCRUD()):
        pass

    assert kapusta.crud is before


def test_a_url_that_leads_to_it_is_refused_too(
    tmp_path: Path, core: Path, memory: Path, libraries: Path
) -> None:
    """A plugin that was upgraded without its core is found, listed, and says what to upgrade."""
    pretend_installed(tmp_path / "site", "later-kapusta", LATER)
    site = Site(tmp_path / "site", core, memory, libraries)

    message = site.outcome("from kapusta import Kapusta; Kapusta('later://')")

    assert message.startswith("BackendTooNewError: later_kapusta.LaterCRUD was written for version ")
    assert message.endswith("Run: pip install --upgrade kapusta-core")
    assert "later, from later-kapusta" in site.run("-m", "kapusta", "backends").stdout


@pytest.mark.parametrize("kind", [AlchemyCRUD, MemoryCRUD, JsonFileCRUD])
def test_a_backend_states_for_itself_what_it_was_written_for(kind: type[BaseCRUD]) -> None:
    """What it would inherit says what the core speaks that happens to be installed, and could never be too new."""
    assert vars(kind).get("protocol") == BaseCRUD.protocol


async def test_a_handle_of_an_earlier_protocol_runs_tasks() -> None:
    """The protocol grows only by what has a default, so an upgrade of the core waits for no backend."""
    kapusta = Kapusta(crud=EarlierCRUD())

    @kapusta.task()
    async def double(number: int) -> int:
        return number * 2

    async with kapusta:
        doubled = await double.launch(21)
        result = await doubled.result(timeout=60)

    assert result == 42
