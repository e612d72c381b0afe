"""The main job, as the first command of the README runs it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

from tests.architecture.tree import ROOT

PROGRAM = ROOT / "examples" / "main_job.py"
LONGEST = 10  # seconds

ROWS = [
    r"announce_flash_sale +async_ +overdue +0 +0 .* it had not started by 20",
    r"book_order +sync +success +1 +0 .* \{'net': '41.58', 'tax': '8.32'\}",
    r"send_invoice +async_ +success +1 +0 .* invoice 1001 sent to ada@example.org",
    r"send_invoice +async_ +error +1 +1 .* ValueError: order 1003: 'linus at example.org'",
    r"export_ledger +thread +success +1 +0 .* 3 orders in ledger.csv",
    r"make_thumbnail +process +success +1 +0 .* 640x480 became 64x48",
    r"charge_card +async_ +success +2 +1 .* 120.00 approved for order 1002",
    r"fetch_exchange_rates +async_ +timeout +1 +1 .* longer than its timeout of 0.5",
    r"remind +async_ +success +1 +0 +2\.\d\d s +2\.\d\d s +Grace was reminded",
]


def run(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the example from a folder that is not its own."""
    return subprocess.run(
        [sys.executable, str(PROGRAM), *words],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LONGEST,
        check=False,
    )


def test_the_main_job_ends_as_expected_and_says_so(tmp_path: Path) -> None:
    """Tasks of every mode, with an eta, a retry, a timeout and a deadline, are read back by a second process."""
    ran = run(folder=tmp_path)

    lines = re.sub("[│┃]", " ", ran.stdout).splitlines()
    missing = [row for row in ROWS if not any(re.search(row, line) for line in lines)]
    assert (missing, ran.returncode, ran.stderr) == ([], 0, ""), ran.stdout
    assert list(tmp_path.iterdir()) == []


def test_another_outcome_is_not_a_success(tmp_path: Path) -> None:
    """A store without the expected tasks makes the report fail: its exit code means something."""
    ran = run("--report", "empty.db", folder=tmp_path)

    assert (ran.returncode, ran.stderr) == (1, "")
