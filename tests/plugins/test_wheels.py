"""Backends of strangers as wheels: built as their authors build them, installed by pip, used by URL."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.plugins import sites
from tests.plugins.sites import Environment

TINY = {
    "pyproject.toml": """
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "acme-kapusta"
version = "0.1"
dependencies = ["kapusta-core>=1.0.0a1,<2", "kapusta-memory"]

[project.entry-points.kapusta]
acme = "acme_kapusta"

[tool.hatch.build.targets.wheel]
only-include = ["acme_kapusta.py"]
""",
    "acme_kapusta.py": sites.plugin("acme", names=["AcmeCRUD"]),
}

PROGRAM = """
import asyncio, sys
from kapusta import Kapusta

kapusta = Kapusta(crud=sys.argv[1])


@kapusta.task()
async def double(number: int) -> int:
    return number * 2


async def main():
    async with kapusta:
        doubled = await double.launch(21)
        print(await doubled.result(timeout=60), "by", type(kapusta.crud).__name__)


asyncio.run(main())
"""


@pytest.fixture(scope="module")
def installed(
    tmp_path_factory: pytest.TempPathFactory, new_environment: Callable[[], Environment]
) -> Environment:
    """The example of the repository and a tiny stranger, installed by pip with what they ask for."""
    tiny = tmp_path_factory.mktemp("acme-kapusta")
    for name, text in TINY.items():
        (tiny / name).write_text(text)
    environment = new_environment()
    environment.pip(f"pip install {sites.build_wheel(tiny, tiny)} kapusta-jsonfile")
    return environment


def test_pip_brings_what_the_plugins_ask_for(installed: Environment) -> None:
    """The metadata of each wheel names the core, and what else it needs; nothing more comes along."""
    names = sorted(path.name.partition("-")[0] for path in installed.packages.glob("*.dist-info"))

    assert names == ["acme_kapusta", "kapusta_core", "kapusta_jsonfile", "kapusta_memory"]


def test_a_task_runs_on_the_example_by_its_url(installed: Environment, tmp_path: Path) -> None:
    """A wheel carries all that the example needs, its entry point included."""
    file = tmp_path / "tasks.json"

    assert installed.output("-c", PROGRAM, f"jsonfile://{file}") == "42 by JsonFileCRUD\n"
    assert "double" in file.read_text()


def test_a_task_runs_on_a_tiny_stranger_by_its_url(installed: Environment) -> None:
    """Two strangers beside each other, and a backend of the house: each is found by its own scheme."""
    assert installed.output("-c", PROGRAM, "acme://") == "42 by MemoryCRUD\n"


def test_their_names_are_at_the_door(installed: Environment) -> None:
    """``from kapusta import`` gives what a stranger exports, as it gives what ours do."""
    statement = "from kapusta import AcmeCRUD, JsonFileCRUD, MemoryCRUD; assert AcmeCRUD is MemoryCRUD"

    assert installed.outcome(statement) == sites.NONE_RAISED


def test_they_are_listed_with_their_distributions(installed: Environment) -> None:
    """``python -m kapusta backends`` says who provides what, and that nothing is broken."""
    listed = installed.output("-m", "kapusta", "backends")

    assert "from acme-kapusta" in listed
    assert "jsonfile, from kapusta-jsonfile" in listed
    assert "memory, from kapusta-memory" in listed
    assert "broken" not in listed
