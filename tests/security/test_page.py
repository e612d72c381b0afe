"""What the page for security says is held by the tests that it names."""

from __future__ import annotations

import re

from tests.architecture.tree import ROOT

PAGE = (ROOT / "SECURITY.md").read_text()
_, _, HOLDS = PAGE.partition("## What holds\n")
ROWS = re.findall(r"^\| (.+) \| `(tests/\S+\.py)::(\w+)` \|$", HOLDS.partition("\n## ")[0], re.MULTILINE)


def test_every_claim_names_a_test_that_is_there() -> None:
    """A claim about security that nothing tests is a wish; a row without a test is one, too."""
    lost = [
        f"{file}::{name}"
        for _, file, name in ROWS
        if not (ROOT / file).is_file() or f"def {name}(" not in (ROOT / file).read_text()
    ]

    assert lost == []
    assert len(ROWS) == HOLDS.partition("\n## ")[0].count("\n| ") - 2  # without the head of the table
    assert len({name for _, _, name in ROWS}) == len(ROWS) >= 15
