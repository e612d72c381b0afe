"""The page of logs lists the events that are logged."""

from __future__ import annotations

import logging
import re

import pytest

from kapusta._events import TASK_FIELDS
from kapusta.backend import LogEvent
from tests.docs.pages import DOCS

PAGE = (DOCS / "reference" / "logs.md").read_text()
ROWS = dict(re.findall(r"^\| `(\w+)` \| ((?:ERROR|WARNING|INFO|DEBUG) \|.*) \|$", PAGE, re.MULTILINE))


def test_the_page_lists_every_event_and_no_other() -> None:
    """An alert that is written after the page waits for words that are logged."""
    assert list(ROWS) == [event.word for event in LogEvent]


@pytest.mark.parametrize("event", LogEvent, ids=lambda event: event.word)
def test_the_row_of_an_event_has_its_level_and_meaning(event: LogEvent) -> None:
    """The level decides who is woken at night."""
    level, *_, meaning = [cell.strip() for cell in ROWS[event.word].split("|")]

    assert level == logging.getLevelName(event.level)
    assert meaning == event.meaning


def test_the_page_lists_the_fields_of_a_task() -> None:
    """A dashboard that asks for a field by the page's name finds it."""
    _, _, section = PAGE.partition("## About a task")
    fields, _, _ = section.partition("An exception is in")

    assert tuple(re.findall(r"^\| `(\w+)` \|", fields, re.MULTILINE)) == TASK_FIELDS


@pytest.mark.parametrize(
    ("word", "level"),
    [
        ("task_failed", logging.ERROR),
        ("task_timed_out", logging.ERROR),
        ("task_held", logging.ERROR),
        ("task_lease_lost", logging.WARNING),
        ("task_lease_expired", logging.WARNING),
        ("task_refused", logging.WARNING),
        ("task_cancelled", logging.INFO),
        ("task_retried", logging.INFO),
        ("task_succeeded", logging.INFO),
    ],
)
def test_a_level_is_what_was_decided(word: str, level: int) -> None:
    """A stop that was asked for must not wake anyone; a task that waits for a person must."""
    assert LogEvent[word].level == level
