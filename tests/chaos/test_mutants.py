"""Each safeguard is missed when it is gone: one line of a copy of the packages is changed, and a test fails.

The tests run in a process of their own that finds the copy before what is installed, and says so.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final, NamedTuple

import pytest

from tests.architecture.tree import ROOT

PACKAGES: Final = ("kapusta-core", "kapusta-memory", "kapusta-sqlalchemy")
CORE: Final = "kapusta-core/src/kapusta"
SQLITE: Final = "kapusta-sqlalchemy/src/kapusta_sqlalchemy/_dialects/_sqlite"
LAWS: Final = "tests/contract/test_sqlite.py::TestSQLite"
LOCKS: Final = "tests/sqlalchemy/test_locking.py"
SAFEGUARDS: Final = "tests/chaos/test_safeguards.py"

RUNNER: Final = """
import sys
import kapusta, kapusta_memory, kapusta_sqlalchemy
print("imported", *(package.__path__[0] for package in (kapusta, kapusta_memory, kapusta_sqlalchemy)), flush=True)
import pytest
sys.exit(pytest.main(sys.argv[1:]))
"""


class Mutant(NamedTuple):
    """A line that becomes another, once in its file, and the quickest test that notices."""

    file: str
    line: str
    becomes: str
    test: str


MUTANTS: Final = {
    "the fence removed": Mutant(
        f"{SQLITE}/_changing.py",
        "WHERE task.id = change.id AND task.run = change.run AND CASE change.guard",
        "WHERE task.id = change.id AND CASE change.guard",
        f"{LAWS}::test_the_answer_to_a_run_that_was_lost_is_refused_once_there_is_another",
    ),
    "rescue by age": Mutant(
        f"{SQLITE}/_changing.py",
        "WHEN 'expired' THEN task.status = 'started' AND task.lease_end < store.now - task.lease / {RESCUE_AFTER}",
        "WHEN 'expired' THEN task.status = 'started' AND task.started + task.lease * 4 / {RESCUE_AFTER} < store.now",
        f"{LAWS}::test_a_renewed_lease_has_not_expired",
    ),
    "already removed": Mutant(
        f"{SQLITE}/_changing.py",
        "return ChangeAnswer.already if (change.id, change.run) in already else ChangeAnswer.refused",
        "return ChangeAnswer.refused",
        f"{LAWS}::test_a_repeated_settlement_is_already_there",
    ),
    "renewal without run": Mutant(
        f"{SQLITE}/_renewing.py",
        "WHERE task.id = held.id AND task.run = held.run AND task.status = 'started' AND task.worker = ?",
        "WHERE task.id = held.id AND task.status = 'started' AND task.worker = ?",
        f"{LAWS}::test_a_lease_of_another_run_or_worker_is_lost",
    ),
    "a locked file costs leases": Mutant(
        f"{SQLITE}/_renewing.py",
        "return {id: (RenewAnswer.busy, bool(cancel_requested)) for id, cancel_requested in rows}",
        "return {id: (RenewAnswer.lost, bool(cancel_requested)) for id, cancel_requested in rows}",
        f"{LOCKS}::test_a_lease_is_busy_while_somebody_keeps_the_file[url]",
    ),
    "a rescue that waits for the lock": Mutant(
        f"{SQLITE}/_changing.py",
        "await waiting_for(_RESCUES_WAIT, connection, write)",
        "await write()",
        f"{LOCKS}::test_a_rescue_waits_for_nobody[engine]",
    ),
    "id_in_use answered as again": Mutant(
        f"{SQLITE}/_adding.py",
        "return AddOutcome.again if tokens.get(task.id) == task.token else AddOutcome.id_in_use",
        "return AddOutcome.again",
        f"{LAWS}::test_an_id_under_another_token_is_in_use",
    ),
    "the keeper on the loop": Mutant(
        f"{CORE}/_worker/__init__.py",
        "apart = store.crud.capabilities.shared_between_processes and self._clock.moves_by_itself",
        "apart = False",
        f"{SAFEGUARDS}::test_a_worker_whose_loop_is_blocked_for_four_leases_is_not_robbed",
    ),
    "unshielded settlement": Mutant(
        f"{CORE}/_store.py",
        "return await answer",
        "return await call",
        f"{SAFEGUARDS}::test_a_settlement_that_nobody_waits_for_any_more_is_written",
    ),
}


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the packages, to be changed."""
    for package in PACKAGES:
        source = Path(package) / "src"
        shutil.copytree(
            ROOT / "packages" / source, tmp_path / source, ignore=shutil.ignore_patterns("__pycache__")
        )
    return tmp_path


def ran(copy: Path, *tests: str, timeout: int) -> tuple[int, str]:
    """What pytest answers, and says, to these tests on the copy, with so many seconds for each."""
    sources = [str(copy / package / "src") for package in PACKAGES]
    ran = subprocess.run(
        [sys.executable, "-c", RUNNER, "-q", "-p", "no:cacheprovider", f"--timeout={timeout}", *tests],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sources), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert ran.stdout.startswith(f"imported {sources[0]}/kapusta {sources[1]}/"), ran.stdout
    return ran.returncode, ran.stdout


def test_the_copy_as_it_is_passes(copy: Path) -> None:
    """What fails below fails for the one line."""
    code, said = ran(copy, *(mutant.test for mutant in MUTANTS.values()), timeout=60)

    assert code == pytest.ExitCode.OK, said
    assert f"{len(MUTANTS)} passed" in said


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=MUTANTS.keys())
def test_a_safeguard_that_is_gone_is_missed(mutant: Mutant, copy: Path) -> None:
    """The named test fails, and fails because it checks: nothing is broken by the change itself."""
    file = copy / mutant.file
    source = file.read_text(encoding="utf-8")
    assert source.count(mutant.line) == 1, f"{mutant.file} is not what it was: {mutant.line}"
    file.write_text(source.replace(mutant.line, mutant.becomes), encoding="utf-8")

    code, said = ran(copy, mutant.test, timeout=12)

    assert code == pytest.ExitCode.TESTS_FAILED, said
    assert "1 failed" in said
    assert "SyntaxError" not in said
    assert "OperationalError" not in said
