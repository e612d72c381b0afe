"""What is written down is read again, whole, by whoever reads along; and the figures count it."""

from __future__ import annotations

from pathlib import Path

from tests.chaos.events import Answered, AnyEvent, Asked, Began, Death, Ended, Fault, Launch, Stored
from tests.chaos.figures import Figures, overlaps, table, twice
from tests.chaos.history import History, Row
from tests.chaos.journal import LIMIT, Journal, Reader


def test_a_journal_is_read_while_it_is_written(tmp_path: Path) -> None:
    """Each line once, in order, also across files; and no file is too large for a process whose disk is full."""
    journal, reader = Journal(tmp_path), Reader(tmp_path)
    read: list[Fault] = []

    for number in range(300):
        journal.write(Fault(kind="kill", detail=f"{number}" + "x" * 200), forced=number % 50 == 0)
        if number % 7 == 0:
            read += [event for event in reader.new() if isinstance(event, Fault)]
    read += [event for event in reader.new() if isinstance(event, Fault)]

    files = list(tmp_path.iterdir())
    assert [int(fault.detail.rstrip("x")) for fault in read] == list(range(300))
    assert len(files) > 3
    assert max(file.stat().st_size for file in files) < LIMIT


def test_half_a_line_is_read_when_it_is_whole(tmp_path: Path) -> None:
    """A reader that comes while a line is written neither fails nor loses it."""
    Journal(tmp_path).write(Fault(kind="kill"))
    (path,) = tmp_path.iterdir()
    line = path.read_bytes()
    path.write_bytes(line + line[:20])
    reader = Reader(tmp_path)

    before = list(reader.new())
    path.write_bytes(line + line)
    after = list(reader.new())

    assert len(before) == len(after) == 1
    assert before == after


def asked(key: str, run: int, status: str, *, guard: str = "holder", failures: int | None = None) -> Asked:
    """A change of task 1."""
    return Asked(
        key=key,
        task=1,
        run=run,
        guard=guard,
        worker="ann",
        status=status,
        failures=failures,
        raises=guard == "resting",
        nonce=None,
    )


def test_what_belongs_together_is_put_together() -> None:
    """A change has its answer, or none if that was lost; a body has its end, or none."""
    history = History.of(
        [
            asked("a", 1, "success"),
            asked("b", 1, "success"),
            Answered(key="b", answer="already", at=7),
            Began(task=1, run=1, nonce="c"),
            Began(task=1, run=2, nonce="d"),
            Ended(nonce="d", how="returned", at=9),
        ]
    )

    assert [(write.answer, write.is_kept, write.may_be_kept) for write in history.writes] == [
        (None, False, True),
        ("already", True, True),
    ]
    assert [(body.how, body.ended) for body in history.bodies] == [(None, None), ("returned", 9)]


def test_a_body_that_began_twice_is_counted_unless_somebody_wanted_it() -> None:
    """A retry after a reported failure, or by hand, is no duplicate; what follows a crash is."""
    begun = [Began(task=1, run=run, nonce=f"{run}") for run in (1, 2, 3, 4)]
    wanted: list[AnyEvent] = [
        asked("a", 1, "pending", failures=1),
        Answered(key="a", answer="accepted"),
        asked("b", 3, "pending", guard="resting"),
        Answered(key="b", answer="accepted"),
    ]

    assert twice(History.of(begun)) == 3
    assert twice(History.of([*begun, *wanted])) == 1


def test_a_body_that_began_beside_another_is_counted() -> None:
    """Until its end is known, a body goes on; those of other tasks are no neighbours."""
    history = History.of(
        [
            Began(task=1, run=1, nonce="a", at=0),
            Ended(nonce="a", how="returned", at=10),
            Began(task=1, run=2, nonce="b", at=5),
            Ended(nonce="b", how="returned", at=6),
            Began(task=1, run=3, nonce="c", at=9),
            Began(task=2, run=1, nonce="d", at=20),
            Began(task=1, run=4, nonce="e", at=21),
        ]
    )

    assert overlaps(history) == 3


def test_the_table_tells_what_there_was() -> None:
    """Launches, ends, refusals, deaths and faults, a column for each engine."""
    history = History.of(
        [
            Launch(serial=1, name="short", attempts=0, hold=False),
            Launch(serial=2, name="short", attempts=0, hold=False),
            Stored(serial=1, task=1),
            asked("a", 1, "success"),
            Answered(key="a", answer="refused"),
            asked("b", 1, "pending", guard="expired"),
            Answered(key="b", answer="refused"),
            Death(phase="settling", point="during"),
            Fault(kind="restart"),
        ]
    )
    rows = [Row(task=1, serial=1, status="held", run=1), Row(task=2, serial=2, status="success", run=1)]

    figures = Figures.of(history, rows, [], drained=1.25)
    shown = table({"mariadb": figures.lines(), "sqlite": [("launched", "7")]}).splitlines()

    assert shown[0] == "|  | mariadb | sqlite |"
    for line in (
        "| launched | 2 | 7 |",
        "| … never acknowledged / stored all the same | 1 / 1 | - |",
        "| ended | 1 | - |",
        "| held | 1 | - |",
        "| late answers refused | 1 | - |",
        "| deaths while settling | 1 | - |",
        "| server restarts survived | 1 | - |",
        "| violations | 0 | - |",
    ):
        assert line in shown
