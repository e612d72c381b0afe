"""Everything that is run on this repository, one session each: `nox -s tests lint types imports isolated docs`.

Needs Python, pip and the package registry. A session runs on the interpreter that runs nox; another one by name:
`nox -s tests -P 3.13`. Environments are kept between runs, and installed again only when what they need has changed.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from pathlib import Path

import nox

nox.needs_version = ">=2024.4.15"
nox.options.default_venv_backend = "uv|virtualenv"  # uv where it is there; virtualenv comes with nox
nox.options.reuse_venv = "yes"
nox.options.sessions = ["tests", "lint", "types", "imports", "isolated", "docs"]

ROOT = Path(__file__).parent
DISTRIBUTIONS = ["kapusta-core", "kapusta-memory", "kapusta-sqlalchemy"]
EXAMPLES = sorted(path.parent for path in ROOT.glob("examples/kapusta-*/pyproject.toml"))

TEST_TOOLS = [
    "pytest",
    "pytest-asyncio",
    "pytest-timeout",
    "pytest-xdist",  # most of the tests wait for a server, a lock or a process most of the time
    "hypothesis",
    "rich",
    "import-linter",
    "attrs",  # what a user may pass as an argument
    "pydantic",  # likewise
    "hatchling",  # what the wheels of tests/plugins are built with
    "pip",  # what installs them
    "psycopg[binary]",  # a driver for PostgreSQL that blocks, as callers in threads use
]
# What starts the servers of the tests, where Kapusta is not to be installed.
SERVER_TOOLS = ["pytest", "pytest-asyncio", "pytest-timeout", "sqlalchemy", "asyncpg", "pymysql"]


@nox.session
def tests(session: nox.Session) -> None:
    """Run all tests, two files at a time; with what follows `--`, which goes to pytest, one after the other."""
    install(session, *editable(testing=True), *TEST_TOOLS)
    session.run("pytest", *(session.posargs or ["-n", "2", "--dist", "loadfile"]))


@nox.session
def contract(session: nox.Session) -> None:
    """Run the contract suite against every backend; what follows `--` goes to pytest."""
    install(session, *editable(testing=True), *TEST_TOOLS)
    suites = [str(example.relative_to(ROOT) / "tests") for example in EXAMPLES]
    session.run("pytest", "tests/contract", *suites, *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Attack real workers on real databases for a while; `nox -s chaos -- --minutes 30 --seed 7 --engine mariadb`."""
    install(session, *editable(testing=True), *TEST_TOOLS)
    session.run("python", "-m", "tests.chaos", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Measure Kapusta and its peers side by side; `nox -s bench -- --engine sqlite --quick`."""
    install(session, *SERVER_TOOLS, "matplotlib")
    session.run("python", "-m", "benchmarks", *session.posargs)


@nox.session
def lint(session: nox.Session) -> None:
    """Check style and layout; `nox -s lint -- --fix` mends what can be mended."""
    install(session, "ruff")
    if "--fix" in session.posargs:
        session.run("ruff", "check", "--fix", ".")
        session.run("ruff", "format", ".")
        return
    session.run("ruff", "check", ".")
    session.run("ruff", "format", "--check", ".")


@nox.session
def types(session: nox.Session) -> None:
    """Check all sources, and programs as a user would write them, with mypy in strict mode."""
    install(session, *editable(testing=True), "mypy", "hypothesis", "rich")
    sources = [f"packages/{name}/src" for name in DISTRIBUTIONS]
    sources += [str(example.relative_to(ROOT) / "src") for example in EXAMPLES]
    sources += [str(program.relative_to(ROOT)) for program in sorted(ROOT.glob("examples/*.py"))]
    session.run("mypy", "--strict", *sources, "tests/typing", "benchmarks")


@nox.session
def imports(session: nox.Session) -> None:
    """Hold the sources against their layers, and run the architecture tests."""
    install(session, *editable(testing=True), *TEST_TOOLS)
    session.run("lint-imports", "--no-logo")
    session.run("pytest", "tests/architecture", *session.posargs)


@nox.session
def isolated(session: nox.Session) -> None:
    """Install each built wheel alone, far from this repository, and use it from an empty folder."""
    install(session, "build", "hatchling", "pip", *SERVER_TOOLS)
    scripts = ROOT / "tests" / "isolated"
    with tempfile.TemporaryDirectory(prefix="kapusta-isolated-") as folder:
        away = Path(folder)
        wheels = away / "wheels"
        build_distributions(session, wheels)
        for name, script in [
            ("kapusta-core", "check_core.py"),
            ("kapusta-memory", "check_memory.py"),
            ("kapusta-sqlalchemy", "check_sqlalchemy.py"),
        ]:
            python = bare_environment(session, away / f"{name}-env", wheels, name)
            check_outside(session, python, scripts / script)
        # The same example on the servers, which are the tests' own.
        extras = "[postgresql,mysql]"
        python = bare_environment(session, away / "servers-env", wheels, "kapusta-sqlalchemy", extras)
        where = {"KAPUSTA_ISOLATED_PYTHON": str(python)}
        session.run("pytest", "-v", str(scripts / "on_servers.py"), env=where)
        # A stranger's backend, as its author installs it: beside the core's wheel, from its folder.
        python = bare_environment(session, away / "stranger-env", wheels, "kapusta-core")
        session.run(
            "python", "-m", "pip", "--python", str(python), "install", "-q", "./examples/kapusta-jsonfile"
        )
        check_outside(session, python, scripts / "check_jsonfile.py")
        type_commands(session, away / "readme-env", ROOT / "examples" / "kapusta-jsonfile" / "README.md")


@nox.session
def docs(session: nox.Session) -> None:
    """Build the documentation into build/docs; a warning, such as a link that leads nowhere, is an error."""
    install(session, *editable(testing=True), "sphinx", "myst-parser", "furo")
    words = ["--nitpicky", "--fail-on-warning", "--keep-going", "--fresh-env", "--quiet"]
    session.run("sphinx-build", *words, "docs", "build/docs")


@nox.session
def build(session: nox.Session) -> None:
    """Build the source distributions, and from them the wheels, into dist/."""
    install(session, "build", "hatchling")
    shutil.rmtree(ROOT / "dist", ignore_errors=True)
    build_distributions(session, ROOT / "dist")


def editable(*, testing: bool) -> list[str]:
    """Return what installs every distribution of this repository in place."""
    extras = {"kapusta-core": "[testing]", "kapusta-sqlalchemy": "[postgresql,mysql]"} if testing else {}
    folders = [f"packages/{name}{extras.get(name, '')}" for name in DISTRIBUTIONS]
    folders += [str(example.relative_to(ROOT)) for example in EXAMPLES]
    return [word for folder in folders for word in ("-e", folder)]


def install(session: nox.Session, *words: str) -> None:
    """Install once: again only if the words, or a distribution's own requirements, have changed."""
    mark = Path(session.virtualenv.location) / "installed.sha256"
    facts = hashlib.sha256("\0".join(words).encode())
    for folder in [*(ROOT / "packages" / name for name in DISTRIBUTIONS), *EXAMPLES]:
        facts.update((folder / "pyproject.toml").read_bytes())
    if mark.is_file() and mark.read_text() == facts.hexdigest():
        return
    mark.unlink(missing_ok=True)
    session.install(*words)
    mark.write_text(facts.hexdigest())


def build_distributions(session: nox.Session, target: Path) -> None:
    """Build each source distribution, and its wheel from that alone."""
    for name in DISTRIBUTIONS:
        words = ["--no-isolation", "--outdir", str(target), f"packages/{name}"]
        session.run("python", "-m", "build", *words, silent=True)


def bare_environment(session: nox.Session, folder: Path, wheels: Path, name: str, extras: str = "") -> Path:
    """Make an environment that holds one wheel and what it asks for, and return its interpreter."""
    session.run("python", "-m", "venv", "--without-pip", str(folder))
    python = folder / "bin" / "python"
    (wheel,) = wheels.glob(f"{name.replace('-', '_')}-*.whl")
    pip = ["python", "-m", "pip", "--python", str(python)]
    session.run(*pip, "install", "-q", "--find-links", str(wheels), f"{wheel}{extras}")
    session.run(*pip, "list")
    return python


def check_outside(session: nox.Session, python: Path, script: Path) -> None:
    """Run a check in an empty folder, from a copy that has nothing of this repository around it."""
    empty = python.parents[2] / f"{script.stem}-work"
    empty.mkdir()
    checks = shutil.copytree(script.parent, empty.with_name(f"{script.stem}-checks"))
    with session.chdir(empty):
        run_outside(session, str(python), str(checks / script.name))


def type_commands(session: nox.Session, folder: Path, readme: Path) -> None:
    """Type what a README shows, as from a fresh clone, in an environment that has pip and nothing else."""
    session.run("python", "-m", "venv", str(folder))
    for commands in re.findall(r"^```console\n(.*?)^```$", readme.read_text(), re.MULTILINE | re.DOTALL):
        # Not by PATH, in which the session's own programs come first.
        run_outside(session, "bash", "-ec", f". '{folder}/bin/activate'\n{commands}")


def run_outside(session: nox.Session, *command: str) -> None:
    """Run a program that must not see this repository or the session's environment."""
    session.run(*command, external=True, env={"PYTHONPATH": None, "VIRTUAL_ENV": None})
