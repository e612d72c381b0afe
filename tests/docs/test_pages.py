"""What a page of the documentation shows works as it says."""

from __future__ import annotations

import re
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT, shown
from tests.docs.pages import (
    DOCS,
    PAGES,
    SHOWN,
    Walk,
    blocks_of,
    check_installed_names,
    neither_run_nor_explained,
)
from tests.worker.leftovers import Leftovers

FEWEST_SNIPPETS = 38
FEWEST_COMMANDS = 28


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


@pytest.mark.parametrize("page", SHOWN, ids=shown)
def test_what_is_not_run_says_why(page: Path) -> None:
    """Every block of every page is run, or is what a command prints, or gives a reason; what it installs is there."""
    assert [f"{shown(page, block.line)}: {block.text}" for block in neither_run_nor_explained(page)] == []

    for block in blocks_of(page):
        assert block.reason is None or len(block.reason) > 10, shown(page, block.line)
        check_installed_names(block)


@pytest.mark.parametrize(
    "block",
    [
        "```console\nls\n```",
        "```text\nthis\n```",
        "<!-- not run: a reason -->\n```console\nls\n```\n\n```text\nthis\n```",
        "```ini\n[Service]\n```",
        "```\nthis\n```",
        "```{code-block} python\nthis\n```",
    ],
)
def test_a_block_of_no_kind_is_found(block: str, tmp_path: Path) -> None:
    """On a page of which only the Python is run, a command without a reason, and what it prints, are seen here."""
    page = tmp_path / "page.md"
    page.write_text(block)

    assert len(neither_run_nor_explained(page)) == 1


def test_an_indented_block_is_found(tmp_path: Path) -> None:
    """A block that is not looked for cannot be left out of the count."""
    page = tmp_path / "page.md"
    page.write_text("- so:\n\n  ```python\n  assert False\n  ```\n")

    with pytest.raises(AssertionError, match="indented"):
        blocks_of(page)


def test_the_check_before_a_merge_builds_the_documentation() -> None:
    """A page that does not build is found before it is merged."""
    *_, last = (ROOT / ".ci" / "run").read_text().strip().splitlines()

    assert re.fullmatch(r"\.venv/bin/nox -s .*\bdocs\b.*", last)
