"""What a law is, and the guard over those that a subclass overrides."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, Final, Protocol, cast

from ._stage import OpenBackend, Stage

PATIENCE: Final = 60.0
"""How many seconds a law may take before it counts as hanging."""

HINT: Final = "If it fails:"
"""What begins the paragraph of a law that says where to look."""


class Law(Protocol):
    """A plain test function: pytest calls it with the fixture ``open_backend``, and with others that it names."""

    __name__: str
    __doc__: str | None
    is_law: bool

    def __call__(self, contract: Any, /, open_backend: OpenBackend, **fixtures: Any) -> None:
        """Hold one backend against the law."""


def law(body: Callable[..., Awaitable[None]]) -> Law:
    """Make a law of an asynchronous method, which is played on a `Stage` and a loop of its own.

    Parameters of *body* after the stage are fixtures of the contract that a backend may leave out: its law is
    then skipped. The law is not a coroutine function, so it needs no plugin to run it, and none that is there
    minds it.
    """

    async def play(contract: Any, open_backend: OpenBackend, fixtures: dict[str, Any]) -> None:
        async with asyncio.timeout(PATIENCE), Stage(open_backend) as stage:
            await body(contract, stage, **fixtures)

    def run(self: Any, open_backend: OpenBackend, **fixtures: Any) -> None:
        try:
            asyncio.run(play(self, open_backend, fixtures))
        except BaseException as error:
            # A short traceback shows no docstring; a note is shown with every one.
            if not is_skip(error):
                error.add_note(hint_of(made))
            raise

    run.__name__, run.__qualname__ = body.__name__, body.__qualname__
    run.__doc__, run.__module__ = body.__doc__, body.__module__
    made = cast("Law", run)
    made.is_law = True
    own = list(inspect.signature(run).parameters.values())[:2]
    named = list(inspect.signature(body).parameters.values())[2:]
    vars(run)["__signature__"] = inspect.Signature(
        [*own, *named]
    )  # pytest reads there which fixtures to give
    return made


def is_skip(error: BaseException) -> bool:
    """Whether a law was skipped by this exception."""
    import pytest

    return isinstance(error, pytest.skip.Exception)


def claim_of(law: Law) -> str:
    """The first sentence of a law: what it claims."""
    return _parts(law)[0]


def hint_of(law: Law) -> str:
    """The last paragraph of a law: where to look if it fails; from "If it fails:" on."""
    return _parts(law)[1]


def _parts(law: Law) -> tuple[str, str]:
    claim, marker, hint = inspect.cleandoc(law.__doc__ or "").partition(HINT)
    return " ".join(claim.partition("\n\n")[0].split()), " ".join((marker + hint).split())


def laws_of(contract: type) -> Iterator[tuple[str, Law]]:
    """The laws of a contract, by name, as first written: what a subclass overrides is not one."""
    seen = set()
    for owner in contract.__mro__:
        for name, value in vars(owner).items():
            if name not in seen and getattr(value, "is_law", False):
                seen.add(name)
                yield name, cast("Law", value)


def check_overrides(subclass: type, contract: type) -> None:
    """Let a subclass override a law only to say openly that its backend does not keep it.

    Raises:
        TypeError: a law is overridden without ``@pytest.mark.xfail(reason=...)``.
    """
    for name, original in laws_of(contract):
        given = getattr(subclass, name)
        if given is not original and not _confesses(given):
            raise TypeError(
                f"{subclass.__qualname__}.{name} overrides a law of {contract.__name__}. A backend that does not "
                f"keep a law says so: put @pytest.mark.xfail(reason=...) on it, or remove it and keep the law."
            )


def _confesses(given: object) -> bool:
    marks = getattr(given, "pytestmark", [])
    return any(mark.name == "xfail" and mark.kwargs.get("reason") for mark in marks)
