"""The reference lists all that there is, and nothing else."""

from __future__ import annotations

import re
from importlib import import_module

import pytest

from kapusta.__main__ import _parser
from kapusta._options import LaunchOptions, RegistrationOptions
from tests.architecture.tree import ROOT
from tests.docs.pages import DOCS

REFERENCE = {page.stem: page.read_text() for page in (DOCS / "reference").glob("*.md")}
DIALECTS = ROOT / "packages/kapusta-sqlalchemy/src/kapusta_sqlalchemy/_dialects"


@pytest.mark.parametrize(
    "door",
    [
        "kapusta",
        "kapusta.types",
        "kapusta.testing",
        "kapusta.backend",
        "kapusta_sqlalchemy",
        "kapusta_memory",
    ],
)
def test_every_public_name_has_its_place(door: str) -> None:
    """What can be imported can be looked up."""
    described = set(
        re.findall(r"^\.\. (?:auto\w+|py:data):: ([\w.]+)", "\n".join(REFERENCE.values()), re.MULTILINE)
    )
    names = {name.rpartition(".")[2] for name in described}

    assert sorted(set(import_module(door).__all__) - names) == []


def test_the_table_of_options_is_complete() -> None:
    """An option that the table leaves out, or gives to the wrong call, is found out by an error."""
    rows = re.findall(r"^\| `(\w+)` \| (yes|) ?\| (yes|) ?\|", REFERENCE["options"], re.MULTILINE)

    assert {name for name, of_task, _ in rows if of_task} == {
        "execution_mode",
        *RegistrationOptions.__annotations__,
    }
    assert {name for name, _, of_launch in rows if of_launch} == set(LaunchOptions.__annotations__)


@pytest.mark.parametrize("command", ["worker", "backends"])
def test_the_command_line_is_described_as_it_is(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Each option that a command shows has its row on the page."""
    with pytest.raises(SystemExit):
        _parser().parse_args([command, "--help"])
    options = set(re.findall(r"--[a-z-]+", capsys.readouterr().out)) - {"--help"}

    _, _, section = REFERENCE["command-line"].partition(f"## `python -m kapusta {command}")
    described = set(re.findall(r"^\| `(--[a-z-]+)", section.partition("\n## ")[0], re.MULTILINE))

    assert section
    assert described == options


@pytest.mark.parametrize(
    ("dialect", "row", "others"),
    [("_sqlite", "SQLite", 0), ("_postgresql", "PostgreSQL", 1), ("_mysql", "MariaDB", 0)],
)
def test_the_numbers_of_connections_are_those_of_the_code(dialect: str, row: str, others: int) -> None:
    """An application launches with one handle; its worker has another one, and may listen."""
    source = (DIALECTS / dialect / "_dialect.py").read_text()
    seats = sum(map(int, re.findall(r"^    (?:writers|readers) = (\d+)$", source, re.MULTILINE))) + others
    listening = others  # on a connection of its own

    (numbers,) = re.findall(
        rf"^\| {row}[^|]*\| (\d+) \| (\d+) \|$",
        (DOCS / "how-to" / "choose-a-backend.md").read_text(),
        re.MULTILINE,
    )

    assert tuple(map(int, numbers)) == (seats, 2 * seats + listening)


def test_the_oldest_servers_are_those_of_the_code() -> None:
    """What the page calls old enough is what `startup()` refuses from the next older one on."""
    page = (DOCS / "how-to" / "choose-a-backend.md").read_text()

    rows = dict(re.findall(r"^\| (\w+), ([\d.]+) or newer \|", page, re.MULTILINE))

    sources = [DIALECTS / "_postgresql" / "_opening.py", DIALECTS / "_mysql" / "_server.py"]
    text = "".join(source.read_text() for source in sources)
    oldest = dict(re.findall(r"^OLDEST(\w*): Final = (.*)$", text, re.MULTILINE))
    assert {
        "": f"{rows['PostgreSQL']}0000",
        "_MARIADB": f"({rows['MariaDB'].replace('.', ', ')})",
        "_MYSQL": f"({rows['MySQL'].replace('.', ', ')})",
    } == oldest
