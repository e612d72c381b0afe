"""What must hold where the memory wheel was installed; run by `nox -s isolated`, in an empty folder."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
from pathlib import Path

import kapusta_memory
from kapusta import Kapusta

home = Path(kapusta_memory.__file__).parent
assert home.is_relative_to(sys.prefix), (
    f"kapusta_memory was imported from {home}, not from the installed wheel"
)
assert (home / "py.typed").is_file(), "the wheel does not carry py.typed, so no type checker will read it"

brought = [name for name in ["sqlalchemy", "kapusta_sqlalchemy", "pytest"] if importlib.util.find_spec(name)]
assert not brought, f"installing the memory backend brought {brought}"

kapusta = Kapusta(crud="memory://")


@kapusta.task()
async def double(number: int) -> int:
    """Return twice the number."""
    return number * 2


async def main() -> None:
    """Launch a task and wait for its result."""
    await kapusta.startup()
    try:
        handle = await double.launch(number=21)
        result = await handle.result(timeout=10)
    finally:
        await kapusta.shutdown()

    assert result == 42, f"21 doubled came back as {result!r}"


asyncio.run(main())
print("memory: ok")
