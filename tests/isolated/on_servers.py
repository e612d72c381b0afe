"""The promised example on PostgreSQL and MariaDB, by installed wheels; run by `nox -s isolated`, which says where they are.

The servers are those of the tests: thrown away afterwards, skipped in words where a binary is missing, and replaced
by ``KAPUSTA_TEST_POSTGRES_URL`` and ``KAPUSTA_TEST_MYSQL_URL``.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PYTHON = os.environ.get("KAPUSTA_ISOLATED_PYTHON", "")


@pytest.mark.parametrize("database", ["postgres_url", "mysql_url"])
def test_the_promised_example_runs_on_a_server(
    database: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """From an empty folder, with nothing of this repository around it, the example prints what it should."""
    assert PYTHON, "run it by `nox -s isolated`, which builds and installs the wheels"
    url = request.getfixturevalue(database)
    checks = shutil.copytree(Path(__file__).parent, tmp_path / "checks")
    empty = tmp_path / "empty"
    empty.mkdir()

    ran = subprocess.run(
        [PYTHON, str(checks / "check_sqlalchemy.py"), url],
        cwd=empty,
        env={name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert "ok, the example printed: test" in ran.stdout
