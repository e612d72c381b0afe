"""What the explanations say of the code is so."""

from __future__ import annotations

import itertools
import re
from xml.etree import ElementTree as ET

import pytest

from kapusta._enums import TRANSITIONS, TaskStatus
from tests.docs.named import LAWS, names_of
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


def test_the_figures_of_chaos_can_be_made_again() -> None:
    """Above each table of figures stands the command that made it, with its seed."""
    page = (DOCS / "explanation" / "chaos.md").read_text()

    above = re.findall(r"(.*)\n\n\|  \| SQLite \| PostgreSQL \| MariaDB \|", page)

    assert len(above) == 2
    assert [line for line in above if not re.search(r"`nox -s chaos -- .*--seed \d+`", line)] == []


PROMISED, SHOWN = (DOCS / "explanation" / "promise.md").read_text().split("## Which test shows it")
ROW = re.compile(r"^\| \[([\w ]+)\]\(#([\w-]+)\) \| (.+?) \| ?(.*?) ?\|$", re.MULTILINE)
PHASES = {phase: (anchor, broken) for phase, anchor, _, broken in ROW.findall(PROMISED)}
SECTIONS = {name: text for name, _, text in (it.partition("\n") for it in SHOWN.split("\n### ")[1:])}
SAID = re.compile(
    r"^\| (promise|what may break it) \| (.+) \| `([\w/]+\.py|BackendContract)::(\w+)` \|$", re.MULTILINE
)


def test_every_phase_of_the_promise_leads_to_its_tests() -> None:
    """A promise without a test is a hope, and a reader who doubts one is led to what shows it."""
    rows = re.findall(r"^\| (?!---|phase)", PROMISED, re.MULTILINE)

    assert len(PHASES) == len(rows) >= 10
    assert list(SECTIONS) == list(PHASES)
    assert [anchor for anchor, _ in PHASES.values()] == [name.replace(" ", "-") for name in SECTIONS]


@pytest.mark.parametrize("phase", SECTIONS)
def test_every_promise_names_the_tests_that_hold_it(phase: str) -> None:
    """Each part of what may break it has one as well."""
    said = SAID.findall(SECTIONS[phase])
    _, broken = PHASES[phase]
    parts = broken.split(";") if broken else []

    promises = [words for kind, words, _, _ in said if kind == "promise"]
    assert len(said) == SECTIONS[phase].count("::")
    assert promises
    assert len(said) - len(promises) >= len(parts)
    assert parts or len(said) == len(promises)


def test_the_tests_that_the_promise_names_are_there() -> None:
    """Whoever renames a test, or deletes it, is told which promise it held."""
    named = [(file, name) for _, _, file, name in SAID.findall(SHOWN)]

    lost = [
        f"{file}::{name}"
        for file, name in named
        if name not in (LAWS if file == "BackendContract" else names_of(file))
    ]

    assert len(named) > 50
    assert lost == []
