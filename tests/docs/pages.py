"""The pages of the documentation as a reader follows them: files written, programs run, commands typed.

What a page shows is one of these, and what stands in its first line says which:

- a Python or TOML block that begins with ``# path/name.py`` is that file, written into the page's folder;
- a Python block with ``asyncio.run(`` is a program, run as it stands;
- any other Python block is a part: the parts of a page are run last, one after the other, as one program in which
  ``await`` may stand anywhere;
- a console block is typed line by line; a text block that follows it is what it prints, where ``...`` stands for anything;
- a block that begins with ``# not run: reason``, or stands below ``<!-- not run: reason -->``, is only read.

What is neither of these, and has no reason, is no block that a page may have.
"""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from threading import Timer

from tests.architecture.tree import ROOT, distributions

DOCS = ROOT / "docs"
PAGES = sorted(page for page in DOCS.rglob("*.md") if page.parent.name != "decisions")
SHOWN = sorted(
    {*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("packages/*/*.md"), *ROOT.glob("examples/*/*.md")}
)
"""Whatever a reader may paste from; what is not of `PAGES` has tests of its own for its Python."""
LONGEST = 60  # seconds for one command

_FENCE = re.compile(
    r"^(?:<!-- not run: (?P<reason>[^\n]*) -->\n)?(?P<fence>```)(?P<language>\S*)[^\n]*\n(?P<text>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_ANY_FENCE = re.compile(r"^\s*(?:```|~~~)", re.MULTILINE)
_FILE = re.compile(r"# ([\w./-]+\.(?:py|toml))\n")
_NOT_RUN = re.compile(r"# not run: (.*)\n")
_DIRECTIVES = {
    "{toctree}",
    "{literalinclude}",
    "{include}",
    "{eval-rst}",
    "{note}",
}  # what they show is elsewhere
_WORKER = "python -m kapusta worker "
_KILLED = re.compile(r"(.*) & sleep [\d.]+; kill -9 \$!")
_RUNNER = Path(__file__).with_name("run_parts.py")
_BIN = Path(sys.executable).parent


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        language: what stands behind the fence.
        line: where it begins.
        above: the reason that stands above it, where only the page's source shows it.
    """

    language: str
    text: str
    line: int
    above: str | None = None

    @property
    def file(self) -> str | None:
        """The file that it is, if it is one."""
        match = _FILE.match(self.text) if self.language in {"python", "toml"} else None
        return match[1] if match else None

    @property
    def reason(self) -> str | None:
        """Why it is not run, if it is not."""
        match = _NOT_RUN.match(self.text)
        return match[1] if match else self.above


def blocks_of(page: Path) -> list[Block]:
    """Return the fenced blocks of a page, in order."""
    text = page.read_text()
    blocks = [
        Block(it["language"], it["text"], text.count("\n", 0, it.start("fence")) + 1, it["reason"])
        for it in _FENCE.finditer(text)
    ]
    assert len(_ANY_FENCE.findall(text)) == 2 * len(blocks), f"{page}: a fence is indented, or never closed"
    return blocks


def neither_run_nor_explained(page: Path) -> list[Block]:
    """Return the blocks of a page that are not run, and do not say why."""
    return [
        block
        for before, block in pairwise([Block("", "", 0), *blocks_of(page)])
        if block.reason is None and not _is_run(page, block, before)
    ]


def _is_run(page: Path, block: Block, before: Block) -> bool:
    if block.language.startswith("{"):
        return block.language in _DIRECTIVES
    if page not in PAGES:
        return block.language == "python"
    printed = block.language == "text" and before.language == "console" and before.reason is None
    return printed or block.language in {"python", "toml", "console"}


@dataclass
class Walk:
    """One reader's way through one page, in a folder of its own.

    Attributes:
        page: which page.
        snippets: how many Python blocks were written or run.
        commands: how many lines were typed.
    """

    page: Path
    folder: Path
    snippets: int = 0
    commands: int = 0
    _parts: list[Block] = field(default_factory=list)
    _typed: list[str] = field(default_factory=list)

    def go(self) -> Walk:
        """Do what the page says.

        Raises:
            AssertionError: something went otherwise than the page says.
        """
        blocks = [block for block in blocks_of(self.page) if block.reason is None]
        with ExitStack() as workers:
            for block, following in zip(blocks, [*blocks, Block("", "", 0)][1:], strict=True):
                if block.language in {"python", "toml"}:
                    self._python(block)
                elif block.language == "console":
                    expected = following.text if following.language == "text" else None
                    self._console(block, expected, workers)
            if self._parts:
                self._run_parts()
        self._check_that_files_were_used(blocks)
        return self

    def _python(self, block: Block) -> None:
        self.snippets += block.language == "python"
        if block.file:
            path = self.folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block.text)
        elif "asyncio.run(" in block.text:
            self._checked(block, [sys.executable, "-c", block.text], None)
        else:
            self._parts.append(block)

    def _console(self, block: Block, expected: str | None, workers: ExitStack) -> None:
        lines = [line for line in block.text.splitlines() if line and not line.startswith("#")]
        for line in lines:
            self._typed.append(line)
            self.commands += 1
            if line.startswith(_WORKER):
                workers.enter_context(self._worker(block, line, expected if line == lines[-1] else None))
            elif killed := _KILLED.fullmatch(line):
                self._kill(block, killed[1], (expected or "").splitlines()[0])
            else:
                self._checked(block, ["bash", "-c", line], expected if line == lines[-1] else None)

    def _checked(self, block: Block, command: list[str], expected: str | None) -> None:
        ran = subprocess.run(
            command,
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=LONGEST,
            check=False,
        )
        where = self._where(block)
        assert ran.returncode == 0, f"{where} ended with {ran.returncode}:\n{ran.stdout}"
        if expected is not None:
            wanted = ".*".join(map(re.escape, expected.split("...")))
            assert re.fullmatch(wanted, ran.stdout, re.DOTALL), f"{where} printed:\n{ran.stdout}"

    def _kill(self, block: Block, command: str, first: str) -> None:
        """Where the page waits for a moment, wait for the first line that it shows: a busy machine takes its time."""
        words = ["bash", "-c", f"exec {command}"]
        with subprocess.Popen(
            words,
            cwd=self.folder,
            env=self._environment(),
            stdout=subprocess.PIPE,
            text=True,
        ) as victim:
            too_late = Timer(LONGEST, victim.kill)
            too_late.start()
            try:
                assert victim.stdout is not None
                printed = victim.stdout.readline()
            finally:
                too_late.cancel()
                victim.kill()
        assert printed == f"{first}\n", f"{self._where(block)} printed:\n{printed}"

    def _where(self, block: Block) -> str:
        return f"{self.page.relative_to(ROOT)}:{block.line}"

    def _run_parts(self) -> None:
        for block in self._parts:
            padding = "\n" * block.line  # so that a traceback names the line of the page
            (self.folder / f".part-{block.line:04}").write_text(padding + block.text)
        self._checked(self._parts[0], [sys.executable, str(_RUNNER), str(self.folder)], None)

    @contextmanager
    def _worker(self, block: Block, line: str, expected: str | None) -> Iterator[None]:
        """The command runs until the page ends; then it is to end well, as at a SIGTERM, and to have said what is shown."""
        log = self.folder / "worker.log"
        with log.open("wb") as output:
            worker = subprocess.Popen(
                shlex.split(line), cwd=self.folder, env=self._environment(), stdout=output, stderr=output
            )
        try:
            yield
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(LONGEST) == 0, log.read_text()
            unsaid = [shown for shown in (expected or "").splitlines() if shown not in log.read_text()]
            assert unsaid == [], f"{self._where(block)} logged:\n{log.read_text()}"
        finally:
            worker.kill()
            worker.wait()

    def _environment(self) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
        return {
            **kept,
            "PATH": f"{_BIN}:{kept['PATH']}",
            "PYTHONPATH": str(self.folder),
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(self.folder),
        }

    def _check_that_files_were_used(self, blocks: list[Block]) -> None:
        for file in {block.file for block in blocks if block.file and block.file.endswith(".py")}:
            path = self.folder / file
            imported = any(path.parent.glob(f"__pycache__/{path.stem}.*.pyc"))
            assert imported or any(file in line for line in self._typed), (
                f"{self.page.relative_to(ROOT)}: nothing runs {file}"
            )


def check_installed_names(block: Block) -> None:
    """What a line that is only read installs is there, by that name.

    Raises:
        AssertionError: it is not.
    """
    known = {it.name: set(it.metadata.get("optional-dependencies", ())) for it in distributions("packages/*")}
    for line in re.findall(r"pip install (.*?)(?: &&.*)?$", block.text, re.MULTILINE):
        for word in shlex.split(line, comments=True):
            name, _, extra = word.rstrip("]").partition("[")
            if name.startswith("kapusta-"):
                assert name in known, f"{line}: no distribution of ours is called {name}"
                assert not extra or extra in known[name], f"{line}: {name} has no extra {extra}"
            elif name.startswith("./"):
                assert tomllib.loads((ROOT / name / "pyproject.toml").read_text()), line
