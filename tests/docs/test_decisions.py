"""Decisions can be found, and say what was decided."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT

DECISIONS = sorted((ROOT / "docs" / "decisions").glob("*.md"))


def test_decisions_are_numbered_without_gaps() -> None:
    """A number is what code and reviews refer to: it is in the file's name and title, and given once."""
    numbers = [path.name[:4] for path in DECISIONS]
    titles = [re.match(r"# (\d+)\. \S", path.read_text()) for path in DECISIONS]

    assert numbers == [f"{place:04}" for place in range(1, len(DECISIONS) + 1)]
    assert [title and int(title[1]) for title in titles] == list(range(1, len(DECISIONS) + 1))


@pytest.mark.parametrize("decision", DECISIONS[1:], ids=lambda path: path.stem)
def test_a_decision_says_why_what_and_what_follows(decision: Path) -> None:
    """Without what was turned down, the next reader decides it all again."""
    parts = re.findall(r"^\*\*([\w ]+)\.\*\*", decision.read_text(), re.MULTILINE)

    assert parts == ["Context", "Decision", "Turned down", "Consequence"]
