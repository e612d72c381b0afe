"""Runs the parts of a page, in its folder, as one program in which `await` may stand anywhere."""

from __future__ import annotations

import ast
import asyncio
import sys
from pathlib import Path
from types import ModuleType


async def main(folder: Path) -> None:
    """Run each part in the same module, in order."""
    page = ModuleType("page")
    sys.modules["page"] = page
    for part in sorted(folder.glob(".part-*")):
        source = part.read_text()
        result = eval(  # noqa: S307 - the page's own words
            compile(source, str(part), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT), vars(page)
        )
        if asyncio.iscoroutine(result):
            await result


asyncio.run(main(Path(sys.argv[1])))
