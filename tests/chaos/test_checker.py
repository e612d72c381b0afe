"""The checker finds what is wrong: each invariant is broken by a history that was made up for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Self

import pytest

from tests.chaos.checker import RULES, Violation, violations
from tests.chaos.events import Answered, AnyEvent, Asked, Began, Claim, Ended, Launch, Stored
from tests.chaos.history import History, Row


class Tale:
    """A run that is made up, line by line; each line is a second later than the one before."""

    def __init__(self) -> None:
        self.events: list[AnyEvent] = []
        self.rows: dict[int, Row] = {}

    def _now(self) -> float:
        return float(len(self.events))

    def launch(self, task: int, *, serial: int = 0, attempts: int = 0, hold: bool = False) -> Self:
        """It is acknowledged; the row of a task that is there already stays."""
        serial = serial or task
        self.events += [
            Launch(at=self._now(), serial=serial, name="short", attempts=attempts, hold=hold),
            Stored(at=self._now() + 1, serial=serial, task=task),
        ]
        if task not in self.rows:
            self.store(task, "pending")
        return self

    def claim(self, task: int, run: int, worker: str = "ann") -> Self:
        """A worker has it."""
        self.events.append(Claim(at=self._now(), task=task, run=run, worker=worker))
        return self

    def body(self, task: int, run: int, nonce: str, how: str | None = "returned") -> Self:
        """It begins, and ends if it does."""
        self.events.append(Began(at=self._now(), task=task, run=run, nonce=nonce))
        if how:
            self.events.append(Ended(at=self._now(), nonce=nonce, how=how))
        return self

    def ask(
        self,
        task: int,
        run: int,
        status: str | None,
        answer: str | None = "accepted",
        *,
        guard: str = "holder",
        nonce: str | None = None,
        failures: int | None = None,
        raises: bool = False,
    ) -> Self:
        """A change is sent, and answered if it is."""
        key = f"{len(self.events)}"
        self.events.append(
            Asked(
                at=self._now(),
                key=key,
                task=task,
                run=run,
                guard=guard,
                worker="ann",
                status=status,
                failures=failures,
                raises=raises,
                nonce=nonce,
            )
        )
        if answer:
            self.events.append(Answered(at=self._now(), key=key, answer=answer))
        return self

    def rescue(self, task: int, run: int, status: str | None = "pending") -> Self:
        """Its lease has run out."""
        self.ask(task, run, status, guard="expired")
        return self

    def by_hand(self, task: int, run: int, status: str = "pending") -> Self:
        """A person begins another life of it."""
        self.ask(task, run, status, guard="resting", raises=True)
        return self

    def store(self, task: int, status: str, run: int = 0, nonce: str | None = None, serial: int = 0) -> Self:
        """What its row is in the end."""
        self.rows[task] = Row(task=task, serial=serial or task, status=status, run=run, nonce=nonce)
        return self

    def violations(self) -> list[Violation]:
        """What the checker says of it."""
        return violations(History.of(self.events), list(self.rows.values()))


def good() -> Tale:
    """What may happen: rescues, nearly and in earnest, a failure with a retry, late answers, and what a person wants."""
    tale = Tale()
    tale.launch(1)
    tale.claim(1, 1)
    tale.body(1, 1, "a")
    tale.rescue(1, 1, None)
    tale.rescue(1, 1, None)
    tale.ask(1, 1, "success", None, nonce="a")
    tale.ask(1, 1, "success", "already", nonce="a")
    tale.store(1, "success", 1, "a")

    tale.launch(2, attempts=1)
    tale.claim(2, 1)
    tale.body(2, 1, "b", "raised")
    tale.ask(2, 1, "pending", nonce="b", failures=1)
    tale.claim(2, 2, "bob")
    tale.body(2, 2, "c", None)
    tale.rescue(2, 2)
    tale.claim(2, 3)
    tale.ask(2, 2, "success", "refused", nonce="c")
    tale.body(2, 3, "d", "raised")
    tale.ask(2, 3, "error", nonce="d", failures=2)
    tale.store(2, "error", 3, "d")

    tale.launch(3, hold=True)
    tale.claim(3, 1)
    tale.body(3, 1, "e")
    tale.rescue(3, 1, "held")
    tale.ask(3, 1, "success", nonce="e")
    tale.by_hand(3, 1)
    tale.claim(3, 3)
    tale.body(3, 3, "f")
    tale.ask(3, 3, "success", nonce="f")
    tale.store(3, "success", 3, "f")

    tale.launch(4, hold=True)
    tale.claim(4, 1)
    tale.body(4, 1, "i")
    tale.rescue(4, 1, "held")
    tale.ask(4, 1, "cancelled", raises=True)
    tale.ask(4, 1, "success", "refused", nonce="i")
    tale.store(4, "cancelled", 2)

    tale.launch(5, hold=True)
    tale.claim(5, 1)
    tale.body(5, 1, "j")
    tale.rescue(5, 1, "held")
    tale.ask(5, 1, "success", nonce="j")
    tale.ask(5, 1, "pending", "already", raises=True)
    tale.store(5, "success", 1, "j")
    return tale


PLANTED: list[tuple[str, str, Callable[[Tale], object]]] = [
    ("every_task_ends", "is still 'started'", lambda tale: tale.store(1, "started", 1)),
    ("no_launch_is_lost", "which is not there", lambda tale: tale.rows.pop(1)),
    ("no_launch_is_lost", "which is of launch 1", lambda tale: tale.launch(1, serial=4)),
    ("no_task_is_there_twice", "is there 2 times", lambda tale: tale.store(9, "cancelled", serial=1)),
    ("no_task_is_there_twice", "nobody launched it", lambda tale: tale.store(9, "cancelled")),
    ("a_run_belongs_to_one_worker", "by ann, eve", lambda tale: tale.claim(2, 3, "eve")),
    ("an_outcome_is_written_once", "was settled 2 times", lambda tale: tale.ask(3, 3, "success", nonce="f")),
    (
        "an_outcome_is_written_once",
        "in different ways",
        lambda tale: tale.ask(3, 3, "error", "already", failures=1),
    ),
    ("an_outcome_is_written_once", "was rescued 2 times", lambda tale: tale.rescue(2, 2)),
    (
        "no_outcome_of_a_lost_run",
        "although the run was rescued",
        lambda tale: tale.ask(2, 2, "success", nonce="c"),
    ),
    (
        "no_outcome_of_a_lost_run",
        "after run 2 had begun",
        lambda tale: tale.claim(1, 2).ask(1, 1, "success", nonce="a"),
    ),
    (
        "no_outcome_of_a_lost_run",
        "after a person had made the task 'pending'",
        lambda tale: tale.by_hand(1, 1).ask(1, 1, "success", nonce="a"),
    ),
    (
        "no_outcome_of_a_lost_run",
        "after a person had made the task 'cancelled'",
        lambda tale: tale.ask(4, 1, "success", nonce="i"),
    ),
    ("a_body_begins_once_a_run", "began 2 times in run 1", lambda tale: tale.body(1, 1, "g")),
    (
        "a_stored_answer_is_its_own_bodys",
        "is the answer of 2 tasks",
        lambda tale: tale.store(1, "success", 1, "f"),
    ),
    (
        "a_stored_answer_is_its_own_bodys",
        "by h, which never returned",
        lambda tale: tale.store(1, "success", 1, "h"),
    ),
    (
        "a_stored_answer_is_its_own_bodys",
        "by d, which never returned",
        lambda tale: tale.store(2, "success", 3, "d"),
    ),
    (
        "a_stored_answer_is_its_own_bodys",
        "in run 3 by e, which began in run 1",
        lambda tale: tale.store(3, "success", 3, "e"),
    ),
    (
        "a_stored_answer_is_its_own_bodys",
        "a success without an answer",
        lambda tale: tale.store(1, "success", 1),
    ),
    (
        "an_accepted_answer_is_its_own_bodys",
        "for another's effect",
        lambda tale: tale.ask(1, 1, "success", "already", nonce="f"),
    ),
    (
        "an_accepted_outcome_stays",
        "was acknowledged as 'success' in run 1",
        lambda tale: tale.store(1, "cancelled", 1),
    ),
    (
        "what_is_held_begins_no_more",
        "began 3 times, and was retried 1 times",
        lambda tale: tale.claim(3, 4).body(3, 4, "g", None),
    ),
    (
        "a_retry_respects_its_count",
        "was put off after failure 2",
        lambda tale: tale.ask(2, 3, "pending", failures=2),
    ),
    (
        "a_retry_respects_its_count",
        "was given up after failure 1",
        lambda tale: (
            tale.launch(6, attempts=1)
            .claim(6, 1)
            .body(6, 1, "g", "raised")
            .ask(6, 1, "error", nonce="g", failures=1)
            .store(6, "error", 1, "g")
        ),
    ),
    (
        "a_retry_respects_its_count",
        "had its failure 1 2 times",
        lambda tale: (
            tale.launch(6, attempts=3)
            .ask(6, 1, "pending", failures=1)
            .ask(6, 2, "pending", failures=1)
            .store(6, "held", 2)
        ),
    ),
]


def test_a_run_in_which_nothing_is_wrong_has_no_violations() -> None:
    """Repeats, rescues, late answers to held tasks and a person's retries are as they should be."""
    assert good().violations() == []


@pytest.mark.parametrize(
    ("rule", "words", "plant"), PLANTED, ids=[f"{rule}: {words}" for rule, words, _ in PLANTED]
)
def test_a_planted_violation_is_found(rule: str, words: str, plant: Callable[[Tale], object]) -> None:
    """The invariant fails for the history that breaks it, and says how."""
    tale = good()

    plant(tale)

    said = [it.what for it in tale.violations() if it.rule == rule]
    assert [what for what in said if words in what], said


def test_every_invariant_is_broken_by_something() -> None:
    """A rule that no history breaks checks nothing."""
    assert {rule for rule, _, _ in PLANTED} == RULES.keys()
