"""Runs the parts of a page, in its folder, as one program in which `await` may stand anywhere."""

from __future__ import annotations

import ast
import asyncio
import sys
from pathlib import Path
from types import CodeType, ModuleType


async def main(parts: list[CodeType]) -> None:
    """Run each part in the same module, in order."""
    page = ModuleType("page")
    sys.modules["page"] = page
    for part in parts:
        result = eval(part, vars(page))  # noqa: S307 - the page's own words
        if asyncio.iscoroutine(result):
            await result


def compiled(part: Path) -> CodeType:
    """Return a part as code."""
    code = compile(part.read_text(), str(part), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    assert isinstance(code, CodeType)
    return code


asyncio.run(main([compiled(part) for part in sorted(Path(sys.argv[1]).glob(".part-*"))]))
