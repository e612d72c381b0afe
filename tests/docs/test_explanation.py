"""What the explanations say of the code is so."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree as ET

from kapusta._enums import TRANSITIONS, TaskStatus
from tests.architecture.tree import ROOT
from tests.docs.pages import DOCS

DIAGRAM = DOCS / "explanation" / "life-of-a-task.svg"
SVG = "{http://www.w3.org/2000/svg}"


def test_the_picture_of_a_tasks_life_is_the_one_in_the_code() -> None:
    """Every arrow of the picture is a legal transition, and every legal transition has its arrow."""
    picture = ET.parse(DIAGRAM)  # noqa: S314 - our own file
    arrows = [path for path in picture.iter(f"{SVG}path") if "data-from" in path.attrib]
    names = {text.text for text in picture.iter(f"{SVG}text") if text.get("class") == "status"}

    drawn = [
        way
        for arrow in arrows
        for way in itertools.product(arrow.attrib["data-from"].split(), arrow.attrib["data-to"].split())
    ]

    legal = [(before, after) for before, afters in TRANSITIONS.items() for after in afters]
    assert sorted(drawn) == sorted([("[*]", "pending"), *legal])
    assert names == set(TaskStatus)


def test_every_promise_names_the_tests_that_hold_it() -> None:
    """A promise without a test is a hope."""
    rows = re.findall(r"^\| \w.*\|$", (DOCS / "explanation" / "promise.md").read_text(), re.MULTILINE)[1:]

    named = [re.findall(r"`(tests/[\w/]+\.py)`", row) for row in rows]

    assert len(rows) >= 8
    assert [row for row, tests in zip(rows, named, strict=True) if not tests] == []
    assert [test for tests in named for test in tests if not (ROOT / test).is_file()] == []
