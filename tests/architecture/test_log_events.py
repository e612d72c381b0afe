"""Every record goes through one function, which gives it an event."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from kapusta.backend import LogEvent
from tests.architecture.tree import distributions, parsed, shown

WRITER = "packages/kapusta-core/src/kapusta/_events.py"
METHODS = {"debug", "info", "warning", "warn", "error", "exception", "critical", "fatal", "log"}


def sources() -> Iterator[tuple[str, ast.Module]]:
    """Give every file of our distributions, with its syntax tree."""
    for distribution in distributions():
        for path in distribution.files():
            yield shown(path), parsed(path)


def test_every_record_has_an_event() -> None:
    """A call of a logger's own method writes a record that no dashboard counts, with raw control characters."""
    calls = [
        f"{file}:{line} calls {name}()"
        for file, tree in sources()
        if file != WRITER
        for name, line in logger_calls(tree)
    ]

    assert calls == []


def test_every_event_is_logged_somewhere() -> None:
    """An event that nothing logs is an alarm that never rings."""
    used = {
        node.attr
        for file, tree in sources()
        if file != WRITER
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) == "LogEvent"
    }

    assert used == set(LogEvent.__members__)


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("self._logger.warning('x')", ["self._logger.warning"]),
        ("_log.log(20, 'x')", ["_log.log"]),
        ("logging.getLogger('x').exception('x')", ["logging.getLogger('x').exception"]),
        ("logging.warning('x')", ["logging.warning"]),
        ("log_event(_log, LogEvent.task_held, 'x')", []),
        ("math.log(2)", []),
    ],
)
def test_a_call_of_a_logger_is_found(source: str, expected: list[str]) -> None:
    """The rule above finds a logger under each of its usual names."""
    assert [name for name, _ in logger_calls(ast.parse(source))] == expected


def logger_calls(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Give the text and the line of each call of a logger's own method."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
            owner = ast.unparse(node.func.value)
            if "log" in owner.rpartition(".")[2].lower():
                yield ast.unparse(node.func), node.lineno
