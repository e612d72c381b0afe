"""A process that makes a copy of itself while its store is started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.architecture.tree import ROOT


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'tasks.db'}"
    found: str = request.getfixturevalue("postgres_url" if request.param == "postgresql" else "mysql_url")
    return found


def test_a_copy_of_the_process_does_not_speak_on_its_connections(url: str) -> None:
    """Both would send and hear on one socket. A copy has to start the store for itself; the original goes on."""
    ran = subprocess.run(
        [sys.executable, "-W", "error::RuntimeWarning", "-m", "tests.traps.forking", url],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.stderr == ""
    assert ran.stdout.splitlines() == ["copy: not started here", "copy: launched pending", "program: ran"]
