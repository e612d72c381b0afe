"""What a parent and its child process say to each other."""

from __future__ import annotations

import msgspec

from .._naming import ImportPath
from ._attempt import Returned


class Welcome(msgspec.Struct, frozen=True):
    """What a child is told once: the parent's ``sys.argv``, as the system encodes it, and how large a result may be."""

    argv: list[bytes]
    max_result_bytes: int


class Job(msgspec.Struct, frozen=True):
    """What a child is told for each body: the task's name, where its function is, and the encoded arguments."""

    task: str
    function: ImportPath
    payload: bytes


class Answer(msgspec.Struct, frozen=True):
    """What a child answers, one field at a time: first that the body begins, if it does, then how it ended."""

    begun: bool = False
    returned: Returned | None = None
    raised: str | None = None
    unreadable: str | None = None
