"""The figures of a run, and the table that is printed of them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from tests.chaos.checker import Violation
from tests.chaos.history import History, Row
from tests.chaos.phases import PHASES

FAULTS: Final = (
    *(f"kill {phase}" for phase in PHASES),
    "kill",
    "freeze",
    "restart",
    "drop",
    "lost reply",
    "black hole",
    "full",
)


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be told of a run.

    Attributes:
        unknown: launches that were never acknowledged, and how many of those are stored all the same.
        refused: late answers: what a worker said of a run that it had lost.
        repeated: answers that were sent again because the reply was lost, and had been stored.
        twice: bodies that began although the same task had begun before, without a failure or a person between.
        deaths: in which phase, and where in it.
    """

    launched: int
    unknown: tuple[int, int]
    ended: Counter[str]
    refused: int
    repeated: int
    begun: int
    twice: int
    faults: Counter[str]
    deaths: Counter[tuple[str, str]]
    drained: float
    violations: Sequence[Violation] = ()

    @classmethod
    def of(
        cls, history: History, rows: Sequence[Row], violations: Sequence[Violation], *, drained: float
    ) -> Figures:
        """Count."""
        acknowledged = {stored.serial for stored in history.stored}
        holders = [write for write in history.writes if write.is_of_its_run]
        return cls(
            launched=len(history.launches),
            unknown=(
                len(history.launches) - len(acknowledged),
                sum(1 for row in rows if row.serial not in acknowledged),
            ),
            ended=Counter(row.status for row in rows),
            refused=sum(1 for write in holders if write.answer == "refused"),
            repeated=sum(1 for write in holders if write.answer == "already"),
            begun=len(history.bodies),
            twice=twice(history),
            faults=Counter(fault.kind for fault in history.faults),
            deaths=Counter((death.phase, death.point) for death in history.deaths),
            drained=drained,
            violations=violations,
        )

    def lines(self) -> list[tuple[str, str]]:
        """What is counted, and how much it is."""
        phases = Counter(phase for phase, _ in self.deaths.elements())
        return [
            ("launched", f"{self.launched}"),
            ("… never acknowledged / stored all the same", f"{self.unknown[0]} / {self.unknown[1]}"),
            ("ended", f"{sum(self.ended.values()) - self.ended['held']}"),
            *((f"… {status}", f"{self.ended[status]}") for status in sorted(self.ended) if status != "held"),
            ("held", f"{self.ended['held']}"),
            ("bodies begun", f"{self.begun}"),
            ("… again, after a crash", f"{self.twice}"),
            ("late answers refused", f"{self.refused}"),
            ("lost replies repeated", f"{self.repeated}"),
            *((f"fault: {kind}", f"{self.faults[kind] or '-'}") for kind in FAULTS),
            *((f"deaths while {phase}", f"{phases[phase]}") for phase in (*PHASES, "anywhere")),
            ("server restarts survived", f"{self.faults['restart'] or '-'}"),
            ("seconds to drain after the last fault", f"{self.drained:.1f}"),
            ("violations", f"{len(self.violations)}"),
        ]


def twice(history: History) -> int:
    """Bodies that began again where neither a reported failure nor a person had asked for it."""
    wanted = Counter(
        write.asked.task
        for write in history.writes
        if write.is_kept and write.asked.status == "pending" and (write.is_failure or write.is_another_life)
    )
    begun = Counter(body.began.task for body in history.bodies)
    return sum(max(0, count - 1 - wanted[task]) for task, count in begun.items())


def overlaps(history: History) -> int:
    """Bodies that began while an earlier one of the same task had not ended; where no process was killed."""
    count = 0
    latest: dict[int, float] = {}
    for body in sorted(history.bodies, key=lambda it: it.began.at):
        task = body.began.task
        count += body.began.at < latest.get(task, 0.0)
        latest[task] = max(latest.get(task, 0.0), math.inf if body.ended is None else body.ended)
    return count


def table(by_engine: Mapping[str, Sequence[tuple[str, str]]]) -> str:
    """One column per engine, as Markdown."""
    columns = {engine: dict(lines) for engine, lines in by_engine.items()}
    names = list(dict.fromkeys(name for lines in columns.values() for name in lines))
    rows = [["", *columns], ["---", *("---:" for _ in columns)]]
    rows += [[name, *(lines.get(name, "-") for lines in columns.values())] for name in names]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
