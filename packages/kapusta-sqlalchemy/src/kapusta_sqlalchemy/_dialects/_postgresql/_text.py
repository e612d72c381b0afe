"""Text that PostgreSQL cannot hold, NUL and half a surrogate pair, written so that it can.

Names, queues, tokens, workers and keys are compared code point by code point, so what is stored must be as
different as what was given: the backslash that begins an escape is escaped itself. All other text stays as it is.
"""

from __future__ import annotations

import re
from typing import Final

from kapusta.backend import StoredTask

_UNSTORABLE: Final = re.compile("[\\\\\0\ud800-\udfff]")
_ESCAPE: Final = re.compile(r"\\(\\|0|u[0-9a-f]{4})")


def stored(text: str) -> str:
    """*text* as a column holds it."""
    if text.isascii() and "\\" not in text and "\0" not in text:
        return text
    return _UNSTORABLE.sub(_escape, text)


def given(text: str) -> str:
    """What ``stored`` was given."""
    return _ESCAPE.sub(_unescape, text) if "\\" in text else text


def as_given(task: StoredTask) -> StoredTask:
    """A task read from a row, with its texts as they were given."""
    texts = {"token": task.token, "name": task.name, "codec": task.codec, "queue": task.queue}
    if task.worker is not None:
        texts["worker"] = task.worker
    escaped = {field: given(text) for field, text in texts.items() if "\\" in text}
    return task.replace(**escaped) if escaped else task


def _escape(found: re.Match[str]) -> str:
    match found[0]:
        case "\\":
            return "\\\\"
        case "\0":
            return "\\0"
        case half:
            return f"\\u{ord(half):04x}"


def _unescape(found: re.Match[str]) -> str:
    match found[1]:
        case "\\":
            return "\\"
        case "0":
            return "\0"
        case code:
            return chr(int(code[1:], 16))
