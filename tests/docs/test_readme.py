"""What the README shows runs, and what it lists is there."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import subprocess
import sys
from pathlib import Path
from types import CodeType, ModuleType

import pytest

from kapusta import Kapusta, TaskExecutionMode, TaskStatus
from tests.architecture.tree import ROOT

README = (ROOT / "README.md").read_text()
SNIPPETS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
PROGRAMS = [snippet for snippet in SNIPPETS if "asyncio.run(" in snippet]
PARTS = [snippet for snippet in SNIPPETS if snippet not in PROGRAMS]
PROMISED = (ROOT / "tests" / "isolated" / "simple_example.py").read_text()


def test_the_simple_example_is_the_promised_one() -> None:
    """The first program is, letter for letter, the one that the wheels are tested with."""
    assert PROGRAMS[0] == PROMISED


@pytest.mark.parametrize("program", PROGRAMS, ids=["simple", "testing"])
def test_a_program_of_the_readme_runs(program: str, tmp_path: Path) -> None:
    """A program that stands by itself, in an empty folder, ends well and complains of nothing."""
    program = program.replace("'...'", "'sqlite+aiosqlite:///tasks.db'")

    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )

    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == ("test\n" if "print('test')" in program else "")


async def test_the_parts_of_the_readme_run_as_one_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other snippets, pasted one after the other where `await` may stand, do what their asserts say."""
    monkeypatch.chdir(tmp_path)
    shop = ModuleType("shop")
    monkeypatch.setitem(sys.modules, "shop", shop)

    for part in PARTS:
        await run_part(part, shop)

    assert len(PARTS) >= 3
    assert (tmp_path / "shop.db").exists()


def test_the_two_commands_stand_alone_and_the_first_names_what_exists() -> None:
    """Each is one line to paste, from making the environment to the result, and names what is in the repository."""
    first, second = re.findall(r"^```console\n(python3 -m venv .*)\n```$", README, re.MULTILINE)

    folders = re.findall(r" \./(\S+)", first)
    assert [(ROOT / folder / "pyproject.toml").is_file() for folder in folders] == [True] * 3
    assert (ROOT / first.rpartition("/bin/python ")[2]).is_file()
    assert second in (ROOT / ".ci" / "run").read_text()
    assert f"```console\n{second}\n```" in (ROOT / "CONTRIBUTING.md").read_text()


def test_every_option_of_kapusta_is_listed() -> None:
    """A constructor argument that the table leaves out is one that nobody will find."""
    table = section("Options of `Kapusta`") + section("Defining tasks")
    names = [name.removeprefix("default_") for name in inspect.signature(Kapusta).parameters]

    assert [name for name in names if name not in table] == []


@pytest.mark.parametrize(
    ("heading", "words"), [("Results and status", TaskStatus), ("Defining tasks", TaskExecutionMode)]
)
def test_the_tables_of_statuses_and_modes_are_complete(
    heading: str, words: type[TaskStatus | TaskExecutionMode]
) -> None:
    """Each status and each mode has its row, and there is no row for another."""
    rows = re.findall(r"^\| `(\w+)` \|", section(heading), re.MULTILINE)

    assert set(words) <= set(rows)
    assert len(rows) == len(set(rows))


@pytest.mark.parametrize("page", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_the_links_of_a_page_lead_somewhere(page: str) -> None:
    """A link within the repository names a file or a heading that is there."""
    text = (ROOT / page).read_text()
    anchors = {
        "#" + re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-")
        for heading in re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    }

    targets = re.findall(r"\]\(([^)]+)\)", text)
    dead = [
        target
        for target in targets
        if not target.startswith("https://")
        and not (target in anchors if target.startswith("#") else (ROOT / target).exists())
    ]

    assert dead == []


def test_the_files_that_the_architecture_names_are_there() -> None:
    """A page that points at a file that has moved sends its reader astray."""
    core = ROOT / "packages" / "kapusta-core" / "src" / "kapusta"
    named = re.findall(r"`([\w./-]+(?:\.py|\.md|\.toml|/))`", (ROOT / "ARCHITECTURE.md").read_text())

    lost = [path for path in named if not (ROOT / path).exists() and not (core / path).exists()]

    assert len(named) > 20
    assert lost == []


def section(heading: str) -> str:
    """Return what stands under a heading of the README."""
    _, _, rest = README.partition(f"\n## {heading}\n")
    assert rest, f"the README has no section '{heading}'"
    return rest.partition("\n## ")[0]


async def run_part(source: str, module: ModuleType) -> None:
    """Run a snippet in a module; `await` may stand anywhere in it, as in `python -m asyncio`."""
    code = compile(source, "README.md", "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(code, CodeType)
    result = eval(code, vars(module))  # noqa: S307 - the README's own words
    if asyncio.iscoroutine(result):
        await result
