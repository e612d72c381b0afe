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
    promised, shown = (DOCS / "explanation" / "promise.md").read_text().split("## Which test shows it")
    phases = [row[1] for row in re.finditer(r"^\| (\w[\w ]*) \| .*\|$", promised, re.MULTILINE)][1:]
    rows = re.findall(r"^\| (\w[\w ]*) \| .* \| `(tests/\S+\.py)::(\w+)` \|$", shown, re.MULTILINE)

    lost = [
        f"{file}::{name}"
        for _, file, name in rows
        if not (ROOT / file).is_file() or f"def {name}(" not in (ROOT / file).read_text()
    ]

    assert len(phases) >= 8
    assert list(dict.fromkeys(phase for phase, _, _ in rows)) == phases
    assert len(rows) == shown.count("::")
    assert lost == []
