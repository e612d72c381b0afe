"""A number that a page gives is counted."""

from __future__ import annotations

import re

import pytest

from kapusta.backend import BaseCRUD
from kapusta.testing import BackendContract
from kapusta.testing._law import laws_of
from tests.architecture.tree import ROOT, shown
from tests.docs.pages import SHOWN

EXAMPLE = ROOT / "examples" / "kapusta-jsonfile" / "src"


@pytest.mark.parametrize(
    ("words", "number", "fewest"),
    [
        (r"(\d+) laws", len(list(laws_of(BackendContract))), 1),
        (
            r"\bin(?:to)? (\d+)\slines",
            sum(len(it.read_text().splitlines()) for it in EXAMPLE.rglob("*.py")),
            3,
        ),
    ],
    ids=["laws", "lines of the example"],
)
def test_a_number_is_what_can_be_counted(words: str, number: int, fewest: int) -> None:
    """How many laws there are, and how long the example is, is so on every page that says it."""
    said = [(shown(page), int(it)) for page in SHOWN for it in re.findall(words, page.read_text())]

    assert len(said) >= fewest
    assert [it for it in said if it[1] != number] == []


def test_a_backend_has_as_many_operations_as_the_readme_says() -> None:
    """Who counts what there is to be written finds no tenth."""
    text = (ROOT / "README.md").read_text()

    assert "`kapusta.backend.BaseCRUD`: nine operations" in text
    assert len(BaseCRUD.__abstractmethods__) == 9
