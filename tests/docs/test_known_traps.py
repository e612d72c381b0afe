"""Every trap on the page of known traps has an answer, and every test that answers one is there."""

from __future__ import annotations

import re

from tests.architecture.tree import ROOT
from tests.docs.named import LAWS, names_of
from tests.docs.pages import DOCS

PAGE = (DOCS / "explanation" / "known-traps.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\d+) \| (.+?) \| ?(.*?) ?\|$", PAGE, re.MULTILINE)
TEST = re.compile(r"`([\w/]+\.py|BackendContract)::(\w+)`")


def test_there_are_126_traps_and_each_has_its_number() -> None:
    """A trap that falls out of a table, or is told twice, is seen here."""
    assert [int(number) for number, _, _ in ROWS] == list(range(1, 127))
    assert len({trap for _, trap, _ in ROWS}) == 126


def test_no_trap_is_without_an_answer() -> None:
    """An answer names a test, or says in a sentence why there is nothing to test."""
    reasons = {number: TEST.sub("", answer).strip(" ,.:") for number, _, answer in ROWS}

    bare = [number for number, _, answer in ROWS if not TEST.search(answer) and len(reasons[number]) < 40]

    assert bare == []


def test_every_test_that_the_page_names_is_there() -> None:
    """Whoever renames a test, or deletes it, is told which trap it was the answer to."""
    named = TEST.findall(PAGE.replace("`BackendContract::...`", ""))
    lost = [
        f"{file}::{name}"
        for file, name in named
        if name not in (LAWS if file == "BackendContract" else names_of(file))
    ]

    assert len(named) > 126
    assert len(named) == PAGE.count("::") - PAGE.count("::...")
    assert lost == []


def test_what_is_said_not_to_exist_does_not() -> None:
    """A reason that something is missing ends when it comes: then the trap is to be answered anew."""
    core = (ROOT / "packages/kapusta-core/src/kapusta").rglob("*.py")
    files = {path.stem.strip("_") for path in core}

    assert not files & {
        "schedule",
        "schedules",
        "scheduler",
        "cron",
        "pruning",
        "pruner",
        "dashboard",
        "eager",
    }
