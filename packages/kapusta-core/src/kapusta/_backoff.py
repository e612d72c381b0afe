"""How long until the next attempt."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from ._clock import ZERO
from ._durations import as_timedelta
from ._errors import KapustaValueError
from .types import Duration


class Backoff(msgspec.Struct, frozen=True, kw_only=True):
    """Exponential backoff: capped, with full jitter.

    After failure number *n* the ceiling is ``initial * factor ** (n - 1)``, at most ``maximum``; with
    jitter the delay is drawn evenly between zero and the ceiling, so that tasks that failed together do not
    come back together (Brooker, "Exponential Backoff And Jitter").

    Attributes:
        initial: the first ceiling, in seconds or as a ``timedelta``.
        maximum: the highest ceiling.
        factor: by how much the ceiling grows with each failure, 1 or more.
        jitter: whether to draw below the ceiling; otherwise the delay is the ceiling.
    """

    initial: timedelta = timedelta(seconds=1)
    maximum: timedelta = timedelta(minutes=5)
    factor: float = 2.0
    jitter: bool = True

    if TYPE_CHECKING:  # what is given may be seconds; what is kept is a timedelta

        def __init__(
            self,
            *,
            initial: Duration = ...,
            maximum: Duration = ...,
            factor: float = ...,
            jitter: bool = ...,
        ) -> None: ...

    def __post_init__(self) -> None:
        # msgspec runs this on decoding too, where a duration is a timedelta already.
        msgspec.structs.force_setattr(self, "initial", as_timedelta("Backoff(initial)", self.initial))
        msgspec.structs.force_setattr(self, "maximum", as_timedelta("Backoff(maximum)", self.maximum))
        if not 1.0 <= self.factor < float("inf"):
            raise KapustaValueError(
                option="Backoff(factor)",
                value=self.factor,
                problem="is not a number of 1 or more",
                remedy="Give 1 for a constant ceiling, 2 to double it each time.",
            )

    def delay(self, failures: int, chance: float) -> timedelta:
        """The delay after so many failures; *chance* is drawn evenly from 0 to 1."""
        ceiling = self._ceiling(failures)
        return ceiling * chance if self.jitter else ceiling

    def _ceiling(self, failures: int) -> timedelta:
        try:
            growth = float(self.factor) ** max(0, failures - 1)  # an int would grow without end
            return min(self.maximum, self.initial * growth)
        except OverflowError:
            return self.maximum if self.initial > ZERO else ZERO


def as_backoff(option: str, value: Backoff | Duration | None) -> Backoff:
    """The backoff that *value* says; a duration is kept to exactly, ``None`` is no delay.

    Raises:
        KapustaValueError: *value* is neither, or overrides `Backoff.delay`.
    """
    if isinstance(value, Backoff):
        if type(value).delay is not Backoff.delay:
            raise KapustaValueError(
                option=option,
                value=value,
                problem="overrides delay(), which no worker would call: only the fields of a Backoff are stored",
                remedy="Say it with initial, maximum, factor and jitter, or give a fixed duration.",
            )
        # A worker reads the fields of a Backoff; a subclass may have more, or other names for them as JSON.
        return Backoff(**{field: getattr(value, field) for field in Backoff.__struct_fields__})
    constant = ZERO if value is None else as_timedelta(option, value)
    return Backoff(initial=constant, maximum=constant, factor=1.0, jitter=False)
