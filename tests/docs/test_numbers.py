"""A number that a page gives is counted."""

from __future__ import annotations

import inspect
import re

import pytest

from kapusta import Kapusta
from kapusta._worker import STOPPING
from kapusta.backend import BaseCRUD
from kapusta.testing import BackendContract
from kapusta.testing._law import laws_of
from tests.architecture.tree import ROOT, shown
from tests.docs.pages import SHOWN

CALLS = 5  # a claim, its return, the keeper's goodbye, what is under way, and ours: each for as long as a call may take
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


def test_systemd_is_more_patient_than_a_shutdown_may_take() -> None:
    """A unit copied from the page does not kill a worker that would still have stored its outcomes."""
    page = (ROOT / "docs" / "how-to" / "run-more-processes.md").read_text()
    defaults = {name: it.default for name, it in inspect.signature(Kapusta).parameters.items()}
    longest = defaults["grace"] + 2 * STOPPING + CALLS * defaults["store_timeout"]

    (patience,) = re.findall(r"^TimeoutStopSec=(\d+)$", page, re.MULTILINE)

    assert f"{longest.total_seconds():.0f} s by default" in page
    assert int(patience) >= longest.total_seconds() + 10


def test_the_log_that_the_page_quotes_is_what_is_logged() -> None:
    """Who looks for the page's words in a log finds them."""
    page = (ROOT / "docs" / "how-to" / "use-mode-process.md").read_text()
    worker = ROOT / "packages" / "kapusta-core" / "src" / "kapusta" / "_worker"
    sources = "".join(path.read_text() for path in worker.glob("*.py"))

    quoted = re.findall(r"^Task 7 'report'(?::| is) (.*)$", page, re.MULTILINE)

    assert len(quoted) == 2
    assert [words for words in quoted if words not in sources] == []
