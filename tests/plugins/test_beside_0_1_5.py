"""The distribution ``kapusta`` 0.1.5 beside ours: both write into one import package, so the order decides whose files stay.

It is not 0.1.5 itself: `old_kapusta` makes a wheel of its name and version, with its modules, their names and its tables.
"""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.plugins import old_kapusta
from tests.plugins.sites import NONE_RAISED, Environment, Site, unpack

OURS = ("kapusta-core", "kapusta-sqlalchemy", "kapusta-memory")
REMEDY = ("pip uninstall -y kapusta kapusta-core", "pip install kapusta-core")

DOOR = "import kapusta"
BEHIND = {
    # where our files are never overwritten, our code can always speak
    "the backend author's door": "import kapusta.backend",
    "the SQL backend": "from kapusta_sqlalchemy import AlchemyCRUD",
    "the memory backend": "from kapusta_memory import MemoryCRUD",
    "the tester's door": "from kapusta.testing import ManualClock",
}
COMMANDS = ("-m kapusta backends", "-m kapusta_sqlalchemy upgrade sqlite:///tasks.db")
THEIRS = "import kapusta; assert kapusta.version == '0.1.5'; kapusta.Kapusta(crud=kapusta.AlchemyCRUD('...'))"

PROGRAM = """
import asyncio
from kapusta import AlchemyCRUD, Kapusta
from kapusta.core import KapustaError
from kapusta.models import TaskStatus
from kapusta.types import TaskId

kapusta = Kapusta(crud=AlchemyCRUD("sqlite+aiosqlite:///tasks.db"))


@kapusta.task()
def double(number: int) -> int:
    return number * 2


async def main():
    async with kapusta:
        doubled = await double.launch(number=21)
        print(await doubled.result(timeout=60))


asyncio.run(main())
"""


@dataclass(frozen=True)
class Story:
    """What was said in one environment.

    Attributes:
        mixed: with both installed, of each statement.
        commands: with both installed, of each command on standard error.
        halved: after ``pip uninstall kapusta`` alone, of each statement.
        mended: what a program printed after the remedy.
    """

    mixed: dict[str, str]
    commands: dict[str, str]
    halved: dict[str, str]
    mended: str


@pytest.fixture(scope="module")
def stories(
    tmp_path_factory: pytest.TempPathFactory,
    wheels: dict[str, Path],
    new_environment: Callable[[], Environment],
) -> dict[str, Story]:
    """Both orders, each in an environment of its own; at once, as pip takes its time."""
    old = [old_kapusta.write_wheel(tmp_path_factory.mktemp("0.1.5"))]
    ours = [wheels[name] for name in OURS]
    orders = {"ours last": (old, ours), "theirs last": (ours, old)}
    environments = [new_environment() for _ in orders]
    halves = [tmp_path_factory.mktemp("halved") / "site" for _ in orders]
    with ThreadPoolExecutor() as threads:
        told = threads.map(_tell, environments, halves, *zip(*orders.values(), strict=True))
        return dict(zip(orders, told, strict=True))


@pytest.fixture(params=["ours last", "theirs last"])
def story(stories: dict[str, Story], request: pytest.FixtureRequest) -> Story:
    """One order, then the other."""
    return stories[request.param]


def test_with_ours_last_the_import_refuses(stories: dict[str, Story]) -> None:
    """The files are ours, and what is left of 0.1.5 would be ours to run: which distribution, and what to type."""
    message = stories["ours last"].mixed[DOOR]

    assert message.startswith(
        "ConflictingDistributionError: 'kapusta-0.1.5' is installed beside kapusta-core"
    )
    assert message.endswith(f"Run: {' && '.join(REMEDY)}")


def test_with_theirs_last_the_import_is_theirs(stories: dict[str, Story]) -> None:
    """There no code of ours runs, and 0.1.5 works: which is why the doors behind must refuse."""
    assert stories["theirs last"].mixed[DOOR] == NONE_RAISED
    assert stories["theirs last"].mixed[THEIRS] == NONE_RAISED


@pytest.mark.parametrize("statement", BEHIND.values(), ids=BEHIND)
def test_every_door_that_is_ours_refuses_in_either_order(story: Story, statement: str) -> None:
    """An ImportError that names what was found and what to type, before anything of a mixture runs."""
    message = story.mixed[statement]

    assert message.startswith(
        "ConflictingDistributionError: 'kapusta-0.1.5' is installed beside kapusta-core"
    )
    assert message.endswith(f"Run: {' && '.join(REMEDY)}")


def test_every_command_refuses_in_either_order(story: Story) -> None:
    """A command line ends with the same sentence, and has done nothing."""
    assert [said for said in story.commands.values() if REMEDY[0] not in said] == []


@pytest.mark.parametrize("statement", BEHIND.values(), ids=BEHIND)
def test_to_uninstall_0_1_5_alone_is_half_the_remedy_and_says_so(story: Story, statement: str) -> None:
    """It takes files of ours along, ``kapusta/__init__.py`` among them; what is left must not be taken for whole."""
    message = story.halved[statement]

    assert message.startswith(
        "DamagedDistributionError: kapusta-core is installed, but its 'kapusta/__init__.py' is gone"
    )
    assert message.endswith(f"Run: {' && '.join(REMEDY)}")


def test_after_the_remedy_all_works(story: Story) -> None:
    """The two commands of the refusal, as they are typed; the backends stay installed, and a task runs."""
    assert story.mended == "42\n"


def _tell(environment: Environment, half: Path, first: Sequence[Path], last: Sequence[Path]) -> Story:
    """Go through it all in an environment into which the first wheels were installed, and then the last."""
    statements = [DOOR, THEIRS, *BEHIND.values()]
    for wheel in first:
        unpack(wheel, environment.packages)  # into an empty folder pip does no more, and takes longer
    environment.pip(f"pip install {' '.join(map(str, last))}")
    mixed = environment.outcomes(statements)
    commands = {command: environment.run(*command.split()).stderr for command in COMMANDS}
    shutil.copytree(environment.packages, half)
    _uninstall(half, "kapusta-0.1.5")
    halved = Site(half, *environment.folders).outcomes(statements)
    for command in REMEDY:
        environment.pip(command)
    return Story(mixed, commands, halved, environment.output("-c", PROGRAM))


def _uninstall(site: Path, stem: str) -> None:
    """Remove the files that a distribution has on record, as ``pip uninstall`` does."""
    info = site / f"{stem}.dist-info"
    with (info / "RECORD").open(newline="") as record:
        for name, *_ in csv.reader(record):
            (site / name).unlink(missing_ok=True)
    info.rmdir()
