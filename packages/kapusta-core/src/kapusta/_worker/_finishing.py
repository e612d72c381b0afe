"""An outcome in a transaction of the body's own."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from .._errors import AlreadyFinishedError, ClaimLostError, OutsideOfTaskError, TransactionError
from .._executors._attempt import ResultEncoder
from .._outcomes import succeeded
from .._records import ChangeAnswer
from .._store import Store
from ._running import Run


class Finisher:
    """Writes the outcome of one run in a transaction that its body gives; used in the body's own context."""

    def __init__(
        self, store: Store, run: Run, encode: ResultEncoder, committed: Callable[[Run], object]
    ) -> None:
        self.store = store
        self._run, self._encode, self._committed = run, encode, committed

    async def finish_within(self, transaction: object, result: object) -> None:
        """See `Kapusta.finish_within`."""
        task = self._run.task
        encoded = self._encode.encode(result, done=False)
        joined = self.store.within(transaction, lambda: self._committed(self._run))
        # From before the write: one that meets an error of the database's has not committed either.
        before, self._run.finished_within = self._run.finished_within, True
        try:
            (answer,) = await joined.change_tasks([succeeded(task, encoded.result, encoded.problem)])
        except TransactionError:
            self._run.finished_within = before  # it was not sent
            raise
        if answer.answer is ChangeAnswer.already and before:
            raise AlreadyFinishedError(task_id=task.id)
        if answer.answer is not ChangeAnswer.accepted:
            self._run.finished_within = before  # it has no effect, whether the transaction commits or not
            raise ClaimLostError(task_id=task.id)
        self._run.result_problem = encoded.problem


_current: ContextVar[Finisher | None] = ContextVar("kapusta_finisher", default=None)


def set_finisher(finisher: Finisher) -> None:
    """From here on this context, and what is started in it, is a body's."""
    _current.set(finisher)


def finisher_of(store: Store) -> Finisher:
    """The finisher of the body that asks, if its task is of *store*.

    Raises:
        OutsideOfTaskError: no body asks, or one of another Kapusta.
    """
    finisher = _current.get()
    if finisher is None or finisher.store is not store:
        raise OutsideOfTaskError(action="finish_within()")
    return finisher
