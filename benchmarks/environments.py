"""Environments for contestants: one for each file of requirements, all of the same Python, made once and kept."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent
KEPT: Final = ROOT / ".nox" / "bench-contestants"
SUPPORTED: Final = ("3.13", "3.12", "3.11")
"""The versions of Python that Kapusta supports, the preferred one first."""

_VERSIONS = "import importlib.metadata as m, json; print(json.dumps({d.name.lower(): d.version for d in m.distributions()}))"


def find_python() -> Path:
    """Return an interpreter of the newest supported version: not all peers run on older ones."""
    for version in SUPPORTED:
        for folder in [*_managed(version), *map(Path, os.environ.get("PATH", "").split(os.pathsep))]:
            python = folder / f"python{version}"
            if os.access(python, os.X_OK) and _runs(python):
                return python
    return Path(sys.executable)


def version_of(python: Path) -> tuple[int, int]:
    """Return the version of an interpreter."""
    program = "import sys; print(*sys.version_info[:2])"
    ran = subprocess.run([str(python), "-c", program], capture_output=True, text=True, check=True)
    major, minor = map(int, ran.stdout.split())
    return major, minor


def make(requirements: str, python: Path) -> Path:
    """Make the environment for a file of requirements if it is missing or outdated, and return its interpreter."""
    version = ".".join(map(str, version_of(python)))
    folder = KEPT / f"{requirements}-{version}"
    file = Path(__file__).parent / "requirements" / f"{requirements}.txt"
    facts = hashlib.sha256(file.read_bytes())
    for wanted in sorted(ROOT.glob("packages/*/pyproject.toml")):
        facts.update(wanted.read_bytes())
    mark, inside = folder / "installed.sha256", folder / "bin" / "python"
    if mark.is_file() and mark.read_text() == facts.hexdigest():
        return inside
    shutil.rmtree(folder, ignore_errors=True)
    subprocess.run([str(python), "-m", "venv", str(folder)], check=True)
    install = [str(inside), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "-r", str(file)], cwd=ROOT, check=True, stderr=subprocess.DEVNULL)
    mark.write_text(facts.hexdigest())
    return inside


def versions_in(python: Path) -> dict[str, str]:
    """Return the versions of the distributions in an environment."""
    ran = subprocess.run([str(python), "-c", _VERSIONS], capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(ran.stdout)
    return found


def _managed(version: str) -> list[Path]:
    """Return where pyenv keeps this version: its commands on the path refuse a version that is not selected."""
    root = Path(os.environ.get("PYENV_ROOT", "~/.pyenv")).expanduser()
    return sorted(folder / "bin" for folder in root.glob(f"versions/{version}.*"))


def _runs(python: Path) -> bool:
    return subprocess.run([str(python), "-c", ""], capture_output=True, check=False).returncode == 0
