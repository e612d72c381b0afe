"""What `python -m kapusta` says: where there is no Kapusta, and which backends there are."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from tests.processes.workers import PROGRAMS

UNGUARDED = """
import asyncio
from kapusta import Kapusta
kapusta = Kapusta("memory://")

@kapusta.task()
def task(): print("test")

async def main():
    await kapusta.startup()
    await task.launch()
    await kapusta.shutdown()

asyncio.run(main())
"""
CREW = '{"url": "memory://", "lease": 30, "grace": 10, "tasks": {}}'
REMEDY = "Name the module and, in it, the Kapusta: package.module:kapusta."
MENDING = 'Mend that first; python -c "import simple" shows the whole way there.'


def run(
    *words: str, cwd: Path, path: str = "", flags: Sequence[str] = (), environment: Mapping[str, str] = {}
) -> subprocess.CompletedProcess[str]:
    """What `python -m kapusta` answers to these words."""
    return subprocess.run(
        [sys.executable, *flags, "-m", "kapusta", *words],
        cwd=cwd,
        env={
            **os.environ,
            "CREW": CREW,
            "PYTHONPATH": f"{path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}",
            **environment,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("crew", "'crew' is not of the form package.module:kapusta."),
        ("crew:", "'crew:' is not of the form package.module:kapusta."),
        ("nowhere:kapusta", "'nowhere:kapusta' cannot be loaded: No module named 'nowhere'."),
        ("crew:tomato", "'crew:tomato' cannot be loaded: module 'crew' has no attribute 'tomato'."),
        ("crew:not_one", "'crew:not_one' is of type str, not a Kapusta."),
        ("crew:Kapusta", "'crew:Kapusta' is a class, not a Kapusta."),
    ],
)
def test_a_target_that_is_no_kapusta_is_refused_in_words(target: str, sentence: str) -> None:
    """Exit code 78, one sentence that says what is wrong and what to write, and nothing is started again."""
    ran = run("worker", target, cwd=PROGRAMS)

    assert ran.returncode == 78
    assert f"{sentence} {REMEDY}" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "the next one starts" not in ran.stderr


@pytest.mark.parametrize(
    ("program", "sentence"),
    [
        (
            UNGUARDED,
            'does its work when it is imported: startup() was called outside of `if __name__ == "__main__":`.',
        ),
        (
            "import sys; sys.exit(3)",
            "cannot be loaded: importing 'simple' ended in sys.exit(3).",
        ),
        (
            "raise RuntimeError('no settings')",
            "cannot be loaded: importing 'simple' raised RuntimeError: no settings (in {here}, line 1).",
        ),
        (
            "\n\nraise KeyError('setting')",
            "cannot be loaded: importing 'simple' raised KeyError: 'setting' (in {here}, line 3).",
        ),
        (
            "import nowhere",
            "cannot be loaded: importing 'simple' raised ModuleNotFoundError: No module named 'nowhere' (in {here}, line 1).",
        ),
        (
            "import os\nos.tomato",
            "cannot be loaded: importing 'simple' raised AttributeError: module 'os' has no attribute 'tomato' (in {here}, line 2).",
        ),
        (
            "tomato = =",
            "cannot be loaded: importing 'simple' raised SyntaxError: invalid syntax (simple.py, line 1).",
        ),
    ],
)
def test_a_script_as_target_is_told_of_the_guard(tmp_path: Path, program: str, sentence: str) -> None:
    """A program that would do its work in each worker is refused, names the guard, and has done nothing."""
    here = tmp_path / "simple.py"
    here.write_text(program)

    ran = run("worker", "simple:kapusta", cwd=tmp_path)

    remedy = MENDING if " raised " in sentence else REMEDY
    assert ran.returncode == 78
    assert f"'simple:kapusta' {sentence.format(here=here)} {remedy}" in ran.stderr
    assert "Traceback" not in ran.stderr
    assert "test" not in ran.stdout


@pytest.mark.parametrize(
    ("flags", "environment"),
    [(["-P"], {}), (["-I"], {}), ([], {"PYTHONSAFEPATH": "1"})],
    ids=["-P", "-I", "PYTHONSAFEPATH"],
)
def test_python_that_leaves_the_current_folder_out_runs_nothing_from_there(
    tmp_path: Path, flags: list[str], environment: dict[str, str]
) -> None:
    """The current folder may be anybody's: a module in it would run with the rights of the worker."""
    (tmp_path / "simple.py").write_text("print('run')")

    nothing_more = {"PYTHONPATH": "", **environment}
    ran = run("worker", "simple:kapusta", cwd=tmp_path, flags=flags, environment=nothing_more)

    assert (ran.returncode, ran.stdout) == (78, "")
    assert (
        "'simple:kapusta' cannot be loaded: No module named 'simple'. Python does not look into the current folder, "
        "because of -P, -I or PYTHONSAFEPATH: install the module, or start Python without these."
    ) in ran.stderr


@pytest.mark.parametrize("processes", ["0", "-1", "many", "1.5"])
def test_a_number_of_processes_that_is_none_is_refused(processes: str) -> None:
    """`--processes` takes 1 or more, and says so in words, whatever is given."""
    ran = run("worker", "crew:kapusta", f"--processes={processes}", cwd=PROGRAMS)

    assert ran.returncode == 2
    assert (
        f"argument --processes: '{processes}' is no number of processes; give a whole number, 1 or more"
        in ran.stderr
    )


@pytest.mark.parametrize("level", ["foo", "10", ""])
def test_a_log_level_that_is_none_is_refused(level: str) -> None:
    """`--log-level` takes the name of a level, and says which there are."""
    ran = run("worker", "crew:kapusta", f"--log-level={level}", cwd=PROGRAMS)

    assert ran.returncode == 2
    assert (
        f"argument --log-level: '{level}' is no log level; give one of: DEBUG, INFO, WARNING, ERROR, CRITICAL"
        in ran.stderr
    )
    assert "Traceback" not in ran.stderr


def test_a_log_level_may_be_written_in_small_letters() -> None:
    """`--log-level critical` is the level CRITICAL: from there on nothing is said of a target that is none."""
    ran = run("worker", "nowhere:kapusta", "--log-level=critical", cwd=PROGRAMS)

    assert ran.returncode == 78
    assert ran.stderr == ""


def test_the_backends_are_listed_with_what_they_can(tmp_path: Path) -> None:
    """Each with its distribution and names, and for its URL schemes what their stores can; the exit code is 0."""
    ran = run("backends", cwd=tmp_path)

    assert ran.returncode == 0, ran.stdout
    assert (
        "memory, from kapusta-memory, names: MemoryCRUD\n"
        "  memory://\n"
        "    pushes wakeups, starts tasks, time resolution 0.001 ms\n"
    ) in ran.stdout
    assert (
        "sqlalchemy, from kapusta-sqlalchemy, names: AlchemyCRUD\n  sqlite://, sqlite+aiosqlite://\n"
    ) in ran.stdout
    (facts,) = {line for line in ran.stdout.splitlines() if line.endswith("time resolution 1 ms")}
    assert facts.startswith("    shared between processes, survives restart")


def test_a_broken_plugin_is_listed_with_the_reason(tmp_path: Path) -> None:
    """What cannot be loaded is named by its distribution, with why; the others are listed, and the exit code is 1."""
    plugin(tmp_path, "acme-kapusta", "acme", "raise RuntimeError('no licence')")

    ran = run("backends", cwd=tmp_path, path=str(tmp_path))

    assert ran.returncode == 1
    assert "broken: The plugin of distribution 'acme-kapusta' is broken" in ran.stdout
    assert "no licence" in ran.stdout
    assert "memory, from kapusta-memory" in ran.stdout


def test_a_backend_that_states_nothing_is_listed_all_the_same(tmp_path: Path) -> None:
    """A backend whose handle cannot be made, from an address it has not chosen, is listed with its own reason."""
    plugin(
        tmp_path,
        "acme-kapusta",
        "acme",
        """
from kapusta.backend import Backend, hookimpl

def from_url(url, clock):
    raise LookupError("no such shelf: " + url)

@hookimpl
def kapusta_backends():
    return [Backend(name="acme", schemes=("shelf",), from_url=from_url)]
""",
    )

    ran = run("backends", cwd=tmp_path, path=str(tmp_path))

    assert ran.returncode == 0
    assert (
        "acme, from acme-kapusta\n  shelf://\n    capabilities unknown: no such shelf: shelf:///kapusta\n"
    ) in ran.stdout


def plugin(folder: Path, distribution: str, module: str, text: str) -> None:
    """Install a plugin by hand: a module, and what the installer would have written of it."""
    (folder / f"{module}.py").write_text(text)
    facts = folder / f"{distribution.replace('-', '_')}-1.0.dist-info"
    facts.mkdir()
    (facts / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (facts / "entry_points.txt").write_text(f"[kapusta]\n{module} = {module}\n")
