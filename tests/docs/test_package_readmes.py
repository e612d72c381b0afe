"""What a reader pastes from a distribution's README runs."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READMES = sorted([*ROOT.glob("packages/*/README.md"), *ROOT.glob("examples/*/README.md")])


@pytest.mark.parametrize("readme", READMES, ids=lambda it: it.parent.name)
def test_the_program_in_a_readme_runs(readme: Path, tmp_path: Path) -> None:
    """The first program that a newcomer tries, in an empty folder, ends well and complains of nothing."""
    (program,) = re.findall(r"```python\n(.*?)```", readme.read_text(), re.DOTALL)

    ran = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )

    assert (ran.returncode, ran.stderr) == (0, "")


def test_the_line_that_tests_the_example_needs_no_plugin_of_pytests() -> None:
    """Who has installed what the line installs, and nothing of this repository's, has the laws held to the example."""
    readme = (ROOT / "examples" / "kapusta-jsonfile" / "README.md").read_text()
    (line,) = re.findall(r"^pip install .* && (pytest .*)$", readme, re.MULTILINE)

    ran = subprocess.run(
        [sys.executable, "-m", *shlex.split(line)],
        cwd=ROOT,
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"\b[1-9]\d\d passed\b", ran.stdout)
