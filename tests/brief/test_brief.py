"""Every sentence of the brief, on every store."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.brief import defining, moving, running
from tests.brief.stage import Row, Stage

TABLE = [*running.PAGE.rows, *defining.PAGE.rows, *moving.PAGE.rows]


@pytest.fixture(params=["memory", "sqlite", "postgresql", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty store."""
    servers = {"postgresql": "postgres_url", "mariadb": "mysql_url"}
    if request.param in servers:
        found: str = request.getfixturevalue(servers[request.param])
        return found
    return "memory://" if request.param == "memory" else f"sqlite+aiosqlite:///{tmp_path / 'tasks.db'}"


@pytest.fixture(autouse=True)
def nothing_left_behind(url: str, nothing_left_behind: None) -> None:
    """The server is there before, and is no leftover."""


@pytest.mark.parametrize("row", TABLE, ids=[row.sentence for row in TABLE])
async def test_what_the_brief_says(row: Row, url: str, tmp_path: Path) -> None:
    """The sentence, as it was written by who asked for Kapusta, holds; of what was wrong, the opposite does."""
    stage = Stage(url, tmp_path)
    try:
        await row.check(stage)
    finally:
        await stage.close()


def test_a_program_written_for_0_1_5_runs_unchanged(tmp_path: Path) -> None:
    """Whoever moves from it changes the installed package and nothing else."""
    program = Path(__file__).with_name("program_0_1_5.py")

    ran = subprocess.run(
        [sys.executable, program, f"sqlite+aiosqlite:///{tmp_path / 'tasks.db'}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.stderr == ""
    assert ran.stdout.splitlines() == [
        "sync stored",
        "success stored",
        "overdue None",
        "success async",
        "success default",
        "success process",
        "success now",
        "error None",
        "timeout None",
    ]
