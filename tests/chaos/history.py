"""All that happened in a run, put together: each change with its answer, each body with its end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TypeVar

import msgspec

from tests.chaos.events import (
    Answered,
    AnyEvent,
    Asked,
    Began,
    Claim,
    Death,
    Ended,
    Fault,
    Launch,
    Stored,
)

E = TypeVar("E")


class Write(msgspec.Struct, frozen=True, kw_only=True):
    """A change, and what became of it.

    Attributes:
        answer: ``None``: the reply, or who would have heard it, was lost.
        answered: when the answer was there.
    """

    asked: Asked
    answer: str | None = None
    answered: float | None = None

    @property
    def is_kept(self) -> bool:
        """Whether the store has said that it is written: to a person, ``already`` says that the run's own answer is."""
        return self.answer == "accepted" or (self.answer == "already" and self.is_of_its_run)

    @property
    def may_be_kept(self) -> bool:
        """Whether it may be written."""
        return self.answer != "refused"

    @property
    def is_by_hand(self) -> bool:
        """Whether a person has asked for it; of a task that is held by its crash, with the claim of its holder."""
        return self.asked.guard in ("resting", "waiting") or self.asked.raises

    @property
    def is_of_its_run(self) -> bool:
        """Whether the worker that holds the run says it."""
        return self.asked.guard == "holder" and not self.asked.raises

    @property
    def is_rescue(self) -> bool:
        """Whether a task was taken from a worker by it; to ask whether it could be, changes no status."""
        asked = self.asked
        return asked.guard == "expired" and asked.status is not None and self.answer == "accepted"

    @property
    def is_failure(self) -> bool:
        """Whether it says that a body raised or took too long."""
        return self.is_of_its_run and bool(self.asked.failures)

    @property
    def is_another_life(self) -> bool:
        """Whether a person has asked for it, so that the task's runs before it count no more."""
        return self.asked.raises


class Body(msgspec.Struct, frozen=True, kw_only=True):
    """A body that has begun, and how it ended, if it did."""

    began: Began
    how: str | None = None
    ended: float | None = None


class History(msgspec.Struct, frozen=True, kw_only=True):
    """All that happened in a run.

    Attributes:
        stored: the acknowledged launches: which task a launch has become.
    """

    launches: Sequence[Launch] = ()
    stored: Sequence[Stored] = ()
    claims: Sequence[Claim] = ()
    writes: Sequence[Write] = ()
    bodies: Sequence[Body] = ()
    deaths: Sequence[Death] = ()
    faults: Sequence[Fault] = ()

    @classmethod
    def of(cls, events: Iterable[AnyEvent]) -> History:
        """Put together what belongs together."""
        events = list(events)
        answers = {it.key: it for it in _only(Answered, events)}
        ends = {it.nonce: it for it in _only(Ended, events)}
        return cls(
            launches=_only(Launch, events),
            stored=_only(Stored, events),
            claims=_only(Claim, events),
            writes=[_write(asked, answers.get(asked.key)) for asked in _only(Asked, events)],
            bodies=[_body(began, ends.get(began.nonce)) for began in _only(Began, events)],
            deaths=_only(Death, events),
            faults=_only(Fault, events),
        )


def _only(kind: type[E], events: Sequence[object]) -> list[E]:
    return [event for event in events if isinstance(event, kind)]


def _write(asked: Asked, answered: Answered | None) -> Write:
    if answered is None:
        return Write(asked=asked)
    return Write(asked=asked, answer=answered.answer, answered=answered.at)


def _body(began: Began, ended: Ended | None) -> Body:
    return Body(began=began) if ended is None else Body(began=began, how=ended.how, ended=ended.at)


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """What is stored of a task in the end.

    Attributes:
        serial: the launch's number, from its arguments.
        nonce: the mark of the body whose answer is stored, if one is.
    """

    task: int
    serial: int
    status: str
    run: int
    failures: int = 0
    nonce: str | None = None
