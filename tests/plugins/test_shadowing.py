"""Plugins in each other's way: two that claim one scheme or name, one that is found twice, one that is left over."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.plugins.sites import NONE_RAISED, Site, plugin, pretend_installed

URL = "from kapusta import Kapusta; Kapusta('memory://')"
NAME = "from kapusta import MemoryCRUD"
OTHER_URL = "from kapusta import Kapusta; Kapusta('acme://')"


@pytest.mark.parametrize("first", ["acme-memory", "kapusta-memory"])
def test_a_plugin_that_shadows_another_is_refused_with_both_named(
    tmp_path: Path, core: Path, memory: Path, libraries: Path, first: str
) -> None:
    """A scheme and a name claimed twice are refused, whichever was found first; what only one claims works."""
    strangers = tmp_path / "site"
    pretend_installed(strangers, "acme-memory", plugin("memory", "acme", names=["MemoryCRUD"]))
    folders = (strangers, memory) if first == "acme-memory" else (memory, strangers)

    said = Site(*folders, core, libraries).outcomes([URL, NAME, OTHER_URL])

    both = "is provided by more than one distribution: acme-memory, kapusta-memory. Uninstall all but one."
    assert said[URL] == f"DuplicateBackendError: Backend 'memory' {both}"
    assert said[NAME] == f"DuplicateBackendError: Backend 'MemoryCRUD' {both}"
    assert said[OTHER_URL] == NONE_RAISED


def test_with_all_but_one_uninstalled_the_scheme_works_again(
    tmp_path: Path, core: Path, memory: Path, libraries: Path
) -> None:
    """The remedy of the refusal is a remedy."""
    strangers = tmp_path / "site"
    pretend_installed(strangers, "acme-memory", plugin("memory"))
    site = Site(strangers, memory, core, libraries)
    refused = site.outcome(URL)

    shutil.rmtree(strangers / "acme_memory-1.0.dist-info")

    assert refused.startswith("DuplicateBackendError: ")
    assert site.outcome(URL) == NONE_RAISED


def test_a_plugin_cannot_put_itself_in_the_place_of_what_the_core_has(
    tmp_path: Path, core: Path, memory: Path, libraries: Path
) -> None:
    """``from kapusta import Kapusta`` is the core's, whatever a plugin says it exports."""
    pretend_installed(tmp_path / "site", "acme-core", plugin("acme", names=["Kapusta"]))

    said = Site(tmp_path / "site", core, memory, libraries).outcome(
        "import kapusta\nassert kapusta.Kapusta('acme://').crud\nassert kapusta.Kapusta.__module__ == 'kapusta._kapusta'"
    )

    assert said == NONE_RAISED


def test_one_distribution_found_in_two_places_is_one(
    tmp_path: Path, core: Path, memory: Path, libraries: Path
) -> None:
    """A development folder before the installed one is how people work, and no duplicate."""
    again = shutil.copytree(memory, tmp_path / "again")

    assert Site(again, memory, core, libraries).outcomes([URL, NAME]) == {URL: NONE_RAISED, NAME: NONE_RAISED}


def test_metadata_without_a_name_is_told_by_its_module(
    tmp_path: Path, core: Path, memory: Path, libraries: Path
) -> None:
    """What an interrupted installation leaves behind is reported like any other broken plugin."""
    pretend_installed(tmp_path / "site", "acme-half", None)
    (tmp_path / "site" / "acme_half-1.0.dist-info" / "METADATA").unlink()

    ran = Site(tmp_path / "site", core, memory, libraries).run("-m", "kapusta", "backends")

    assert (
        "broken: The plugin of distribution 'acme_half' is broken: importing 'acme_half' raised" in ran.stdout
    )
    assert "from kapusta-memory" in ran.stdout
