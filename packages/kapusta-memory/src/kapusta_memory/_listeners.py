"""Who wants to know what others have stored."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from kapusta.backend import Added, AddOutcome, Change, ChangeAnswer, Changed, TaskStatus, WakeKind


class Listeners:
    """The listeners to one store, each with the handle that it listens through; written under its own lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: tuple[tuple[object, Callable[[WakeKind], None]], ...] = ()

    @contextmanager
    def added(self, handle: object, wake: Callable[[WakeKind], None]) -> Iterator[None]:
        """Tell *wake*, for the block, what is stored through other handles than *handle*."""
        entry = (handle, wake)
        with self._lock:
            self._all += (entry,)
        try:
            yield
        finally:
            with self._lock:
                self._all = tuple(each for each in self._all if each is not entry)

    def tell(self, handle: object, kinds: set[WakeKind]) -> None:
        """Tell all others that something of these kinds was stored through *handle*."""
        for listening, wake in self._all:
            if listening is not handle:
                for kind in kinds:
                    wake(kind)


def told_by_adding(answers: Sequence[Added]) -> set[WakeKind]:
    """What there is to tell of tasks that were added."""
    return {"work"} if any(answer.outcome is AddOutcome.new for answer in answers) else set()


def told_by_changing(changes: Sequence[Change], answers: Sequence[Changed]) -> set[WakeKind]:
    """What there is to tell of tasks that were changed."""
    kinds: set[WakeKind] = set()
    for change, answer in zip(changes, answers, strict=True):
        if answer.answer is ChangeAnswer.accepted:
            if change.status is None:
                kinds.add("cancel")
            elif change.status is TaskStatus.pending:
                kinds.add("work")
            else:
                kinds.add("settled")
    return kinds
