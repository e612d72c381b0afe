"""The state machine, as it is drawn and as it is enforced."""

from __future__ import annotations

import re
from pathlib import Path

from kapusta._enums import FINAL, TRANSITIONS, TaskStatus

PAGE = Path(__file__).resolve().parents[2] / "ARCHITECTURE.md"


def test_the_drawn_state_machine_is_the_one_in_the_code() -> None:
    """Every arrow of the diagram is a legal transition, and every legal transition has its arrow."""
    (diagram,) = re.findall(r"```mermaid\n(.*?)```", PAGE.read_text(), re.DOTALL)

    drawn = re.findall(r"^ +(\S+) --> (\S+): \S", diagram, re.MULTILINE)

    legal = [(before, after) for before, afters in TRANSITIONS.items() for after in afters]
    assert sorted(drawn) == sorted([("[*]", "pending"), *legal])


def test_every_status_has_a_way_out() -> None:
    """Nothing that a person could want to run again is stuck for ever."""
    assert set(TRANSITIONS) == set(TaskStatus)
    assert all(TaskStatus.pending in TRANSITIONS[status] for status in {*FINAL, TaskStatus.held})
