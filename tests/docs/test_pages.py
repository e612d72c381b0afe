"""What a page of the documentation shows works as it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT
from tests.docs.pages import DOCS, PAGES, Walk, blocks_of
from tests.worker.leftovers import Leftovers

FEWEST_SNIPPETS = 32
FEWEST_COMMANDS = 27


def named(page: Path) -> str:
    """Return a page as a reader looks for it."""
    return page.relative_to(DOCS).as_posix()


@pytest.fixture
def nothing_left_behind() -> None:
    """The pages are walked side by side: what one walk has open now, the test of another has not left behind."""


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Path, Future[Walk]]]:
    """All pages, walked at once: what one waits for costs the others nothing."""
    leftovers = Leftovers()
    slow_first = sorted(PAGES, key=lambda page: "tutorial" not in page.parts)
    with ThreadPoolExecutor(max_workers=4) as readers:
        yield {page: readers.submit(Walk(page, tmp_path_factory.mktemp(page.stem)).go) for page in slow_first}
    assert leftovers.found() == []


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_a_page_does_what_it_says(page: Path, walks: dict[Path, Future[Walk]]) -> None:
    """Who writes its files, runs its programs and types its commands sees what it shows."""
    walks[page].result()


def test_how_many_snippets_run(walks: dict[Path, Future[Walk]], capsys: pytest.CaptureFixture[str]) -> None:
    """A page whose blocks are no longer found, or all opted out, is seen here."""
    done = [walk.result() for walk in walks.values()]

    snippets = sum(walk.snippets for walk in done)
    commands = sum(walk.commands for walk in done)
    with capsys.disabled():
        print(f"\n{snippets} snippets and {commands} commands on {len(done)} pages of the documentation")
    assert snippets >= FEWEST_SNIPPETS
    assert commands >= FEWEST_COMMANDS


@pytest.mark.parametrize("page", PAGES, ids=named)
def test_what_is_not_run_says_why(page: Path) -> None:
    """A block that opts out gives the reader a reason, and any other has a language that is known here."""
    for block in blocks_of(page):
        assert block.reason is None or len(block.reason) > 10, f"{named(page)}:{block.line}"
        assert block.language.startswith("{") or block.language in {
            "python",
            "toml",
            "console",
            "text",
            "ini",
            "mermaid",
        }, f"{named(page)}:{block.line}: {block.language or 'no language'}"


def test_the_check_before_a_merge_builds_the_documentation() -> None:
    """A page that does not build is found before it is merged."""
    *_, last = (ROOT / ".ci" / "run").read_text().strip().splitlines()

    assert re.fullmatch(r"\.venv/bin/nox -s .*\bdocs\b.*", last)
