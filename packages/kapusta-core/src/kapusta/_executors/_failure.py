"""An exception as text that can be stored."""

from __future__ import annotations

import traceback
from pathlib import Path
from types import TracebackType
from typing import Final

from .._brief import cut

MAX_CHARS: Final = 16_000
"""A longer text keeps its beginning and its end."""

_PACKAGE: Final = str(Path(__file__).parents[1])


class RaisedInChild(Exception):  # noqa: N818 - it stands for an exception of any type
    """An exception that was raised in a child process; its text is the traceback there."""

    def __init__(self, trace: str) -> None:
        super().__init__(trace)

    def __str__(self) -> str:
        return f"\n{self.args[0].rstrip()}"  # formatters put the name of the class before it


def describe(error: BaseException) -> str:
    """The traceback of *error*, from the user's own first frame on; no exception object is kept."""
    trace = _beyond_ours(error.__traceback__)
    text = "".join(traceback.format_exception(type(error), error, trace))
    if len(text) > MAX_CHARS:
        half = MAX_CHARS // 2
        text = f"{text[:half]}\n... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
    return encodable(text)


def in_a_line(error: BaseException) -> str:
    """The type of *error* and the first line of what it says."""
    text = "".join(traceback.format_exception_only(type(error), error))
    return encodable(cut(text.partition("\n")[0]))


def encodable(text: str) -> str:
    """*text* with escapes for what UTF-8 cannot say: halves of surrogate pairs."""
    return text.encode(errors="backslashreplace").decode()


def _beyond_ours(trace: TracebackType | None) -> TracebackType | None:
    first = trace
    while first is not None and first.tb_frame.f_code.co_filename.startswith(_PACKAGE):
        first = first.tb_next
    return first or trace
