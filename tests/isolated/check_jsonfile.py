"""What must hold where a stranger's backend was installed beside the core; run by `nox -s isolated`, in an empty folder."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import kapusta_jsonfile
from kapusta import Kapusta

home = Path(kapusta_jsonfile.__file__).parent
assert home.is_relative_to(sys.prefix), (
    f"kapusta_jsonfile was imported from {home}, not from where it was installed"
)
assert (home / "py.typed").is_file(), "the wheel does not carry py.typed, so no type checker will read it"

others = ["sqlalchemy", "kapusta_sqlalchemy", "kapusta_memory", "pytest"]
brought = [name for name in others if importlib.util.find_spec(name)]
assert not brought, f"installing a stranger's backend brought {brought}"

tasks = Path("tasks.json").resolve()
kapusta = Kapusta(crud=f"jsonfile://{tasks}")


@kapusta.task()
async def double(number: int) -> int:
    """Return twice the number."""
    return number * 2


async def main() -> None:
    """Launch a task and wait for its result."""
    async with kapusta:
        handle = await double.launch(number=21)
        result = await handle.result(timeout=30)

    assert result == 42, f"21 doubled came back as {result!r}"


asyncio.run(main())
(stored,) = json.loads(tasks.read_text())["tasks"].values()
assert stored["status"] == "success", f"the file says of the task: {stored}"

command = [sys.executable, "-m", "kapusta", "backends"]
listed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
assert "from kapusta-jsonfile" in listed, f"`python -m kapusta backends` does not list it:\n{listed}"

print("jsonfile: ok")
