"""What a parent and its child process say to each other."""

from __future__ import annotations

import msgspec

from .._naming import ImportPath
from ._attempt import Returned


class Welcome(msgspec.Struct, frozen=True):
    """What a child is told once, over its own channel, before any code of the user's runs in it.

    Attributes:
        argv: the parent's ``sys.argv``, as the system encodes it.
        max_result_bytes: how large a result may be.
        pickle_secrets: those of a `PickleCodec`; ``None`` without one.
    """

    argv: list[bytes]
    max_result_bytes: int
    pickle_secrets: list[bytes] | None

    def __repr__(self) -> str:
        return "Welcome(...)"  # it holds secrets


class Job(msgspec.Struct, frozen=True):
    """What a child is told for each body: the task's name, where its function is, and the encoded arguments.

    Attributes:
        number: every answer to this job must carry it.
        latest: from when on, on the machine's monotonic scale, the body may not begin any more; ``None``: it may
            at any time.
    """

    number: int
    task: str
    function: ImportPath
    payload: bytes
    codec: str
    latest: float | None = None


class Garbled(msgspec.Struct, frozen=True):
    """What came over a child's channel is no answer; *problem* says why."""

    problem: str


class Answer(msgspec.Struct, frozen=True):
    """What a child answers, one field at a time: first that the body begins, if it does, then how it ended.

    Attributes:
        number: that of the job which is answered.
        late: the body may not begin any more; it has been imported too late.
        raised: the traceback of the exception that ended the body.
        brief: the same exception in a line.
    """

    number: int
    begun: bool = False
    late: bool = False
    returned: Returned | None = None
    raised: str | None = None
    brief: str = ""
    unreadable: str | None = None
