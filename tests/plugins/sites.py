"""Folders that hold installed distributions, real ones and made-up ones, and programs that see nothing else."""

from __future__ import annotations

import importlib.metadata
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from tests.architecture.tree import ROOT

OURS: Final = {
    "kapusta-core": "packages/kapusta-core",
    "kapusta-memory": "packages/kapusta-memory",
    "kapusta-sqlalchemy": "packages/kapusta-sqlalchemy",
    "kapusta-jsonfile": "examples/kapusta-jsonfile",
}
LIBRARIES: Final = (
    "aiosqlite",
    "alembic",
    "greenlet",
    "mako",
    "markupsafe",
    "msgspec",
    "pluggy",
    "sqlalchemy",
    "typing-extensions",
)
"""What ours ask for: taken from where the tests run, so that nothing is downloaded."""

NONE_RAISED: Final = ""
"""What is said of an attempt that succeeded."""

_ATTEMPTS: Final = """
import json, sys
said = []
for statement in json.loads(sys.argv[1]):
    try:
        exec(statement, {})
    except Exception as error:
        said.append(f"{type(error).__name__}: {error}")
    else:
        said.append("")
print(json.dumps(said))
"""


class Site:
    """Folders of installed distributions, in the order in which Python looks into them; nothing else is seen."""

    def __init__(self, *folders: Path) -> None:
        self.folders = folders
        self.command = [sys.executable, "-S"]  # without the site where the tests run

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Start Python with these words, in a folder of its own."""
        work = self.folders[0].parent / "work"
        work.mkdir(exist_ok=True)
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "PIP_"))}
        path = os.pathsep.join(map(str, self.folders))
        return subprocess.run(
            [*self.command, *words],
            cwd=work,
            env=kept | {"PYTHONPATH": path, "PIP_CONFIG_FILE": os.devnull},
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )

    def output(self, *words: str) -> str:
        """What it prints, when all is well."""
        ran = self.run(*words)
        assert ran.returncode == 0, ran.stderr
        assert not ran.stderr
        return ran.stdout

    def outcomes(self, statements: Iterable[str]) -> dict[str, str]:
        """Try each statement, in one process; give what was raised, or `NONE_RAISED`."""
        asked = list(statements)
        said = json.loads(self.output("-c", _ATTEMPTS, json.dumps(asked)))
        return dict(zip(asked, said, strict=True))

    def outcome(self, statement: str) -> str:
        """Try one statement, in a process of its own."""
        return self.outcomes([statement])[statement]


class Environment(Site):
    """A virtual environment, for pip to install into; the libraries and pip itself are there from the outset.

    Attributes:
        packages: where pip installs to.
    """

    def __init__(self, folder: Path, *, libraries: Path, wheels: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True, timeout=100)
        super().__init__(libraries, link_installed(folder / "pip", ["pip"]))
        self.command = [str(folder / "bin" / "python")]
        (self.packages,) = folder.glob("lib/python*/site-packages")
        self._wheels = wheels

    def pip(self, command: str) -> str:
        """Run ``pip`` as it is typed; what it would fetch from the index it finds among our wheels."""
        verb, *words = command.removeprefix("pip ").split()
        options = ["--disable-pip-version-check", "--no-input"]
        if verb == "install":
            options += ["--no-compile", "--no-index", f"--find-links={self._wheels}"]
        ran = self.run("-m", "pip", verb, *options, *words)
        assert ran.returncode == 0, ran.stdout + ran.stderr
        return ran.stdout


def pretend_installed(folder: Path, distribution: str, source: str | None) -> None:
    """Leave in *folder* what installing *distribution* would: a plugin module, its metadata and its entry point.

    Without *source* the module is missing.
    """
    module = distribution.replace("-", "_")
    metadata = folder / f"{module}-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[kapusta]\nplugin = {module}\n")
    if source is not None:
        (folder / f"{module}.py").write_text(source)


def plugin(*schemes: str, names: Iterable[str] = ()) -> str:
    """The source of a plugin that leads to tasks in memory."""
    exports = ", ".join(f"{name!r}: lambda: MemoryCRUD" for name in names)
    return (
        "from kapusta.backend import Backend, hookimpl\n"
        "from kapusta_memory import MemoryCRUD\n\n\n"
        "@hookimpl\n"
        "def kapusta_backends():\n"
        "    def from_url(url, clock):\n"
        "        return MemoryCRUD(clock=clock)\n\n"
        f"    return [Backend(name='a stranger', schemes={schemes!r}, from_url=from_url, exports={{{exports}}})]\n"
    )


def link_installed(folder: Path, distributions: Iterable[str]) -> Path:
    """Make *folder* a site that holds these distributions, as they are where the tests run."""
    folder.mkdir()
    for name in distributions:
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files or ()} - {"..", "__pycache__"}:
            (folder / top).symlink_to(str(distribution.locate_file(top)))
    return folder


def build_wheel(project: Path, into: Path) -> Path:
    """Build the wheel of a project, as its own build backend does, without fetching that anew."""
    before = set(into.glob("*.whl"))
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(into)],
        cwd=project,
        capture_output=True,
        check=True,
        timeout=100,
    )
    (wheel,) = set(into.glob("*.whl")) - before
    return wheel


def write_wheel(into: Path, distribution: str, version: str, files: Mapping[str, str]) -> Path:
    """Make a wheel by hand, of modules alone."""
    stem = f"{distribution.replace('-', '_')}-{version}"
    info = f"{stem}.dist-info"
    metadata = {
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: by hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = f"{info}/RECORD"
    path = into / f"{stem}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, text in {**files, **metadata}.items():
            wheel.writestr(name, text)
        wheel.writestr(record, "".join(f"{name},,\n" for name in [*files, *metadata, record]))
    return path


def unpack(wheel: Path, into: Path) -> Path:
    """Install a wheel of modules alone in a folder."""
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(into)
    return into


def project_of(distribution: str) -> Path:
    """Where in the repository a distribution of ours is made."""
    return ROOT / OURS[distribution]
