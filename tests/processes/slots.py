"""For how long a slot may be gone after an accident; and the table of how long it was."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from tests.processes.lab import Accident

KEPT = 2.0
"""Where the child is kept, and the next body finds it."""
REPLACED = 8.0
"""Where the child is dead, or must be killed: on a machine that is busy with something else."""
KILL_GRACE = 2.0
"""How long a child has, in seconds, between SIGTERM and SIGKILL."""
NEIGHBOUR = 1.5
"""How long a short body in another child may take at most: less than a kill may take."""

FIGURE = "slot gone"
"""The name under which a test's report bears its figures."""

Figure = tuple[str, float, float, float | None]
"""The case; how long its slot was gone, and how long it may be; how long the neighbour, if any, took at most."""


class Slots:
    """Checks, and notes for the table, what was seen of accidents; written by the tests of one process."""

    def __init__(self, note: Callable[[str, object], None]) -> None:
        self._note = note

    def check(self, case: str, accident: Accident, *, bound: float = REPLACED) -> Accident:
        """The accident, once it is noted and found to be within its bounds."""
        self.check_figures(case, accident.gone, accident.neighbour, bound=bound)
        return accident

    def check_figures(
        self, case: str, gone: float, neighbour: float | None = None, *, bound: float = REPLACED
    ) -> None:
        """The same, of figures that were not measured by `Lab.accident`."""
        self._note(FIGURE, (case, gone, bound, neighbour))
        assert 0 < gone < bound
        assert neighbour is None or neighbour < NEIGHBOUR


def table(figures: Iterable[Figure]) -> list[str]:
    """Lines to print."""
    cases = list(figures)
    width = max((len(case) for case, *_ in cases), default=0)
    lines = [f"{'case':<{width}} | slot gone for |   bound | neighbour took"]
    for case, gone, bound, neighbour in cases:
        beside = "" if neighbour is None else f"{neighbour:>12.3f} s"
        lines.append(f"{case:<{width}} | {gone:>11.3f} s | {bound:>5.1f} s | {beside}".rstrip())
    return lines
