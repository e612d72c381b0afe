"""Time is a parameter: the clock is read, and waited on, in one file."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.architecture.tree import distributions, parsed, shown

CLOCK_CALLS = {
    "asyncio.sleep",
    "datetime.date.today",
    "datetime.datetime.now",
    "datetime.datetime.today",
    "datetime.datetime.utcnow",
    "time.clock_gettime",
    "time.clock_gettime_ns",
    "time.monotonic",
    "time.monotonic_ns",
    "time.perf_counter",
    "time.perf_counter_ns",
    "time.sleep",
    "time.time",
    "time.time_ns",
}

MAY_CALL = {
    "packages/kapusta-core/src/kapusta/_clock.py": "it is the clock",
    "packages/kapusta-core/src/kapusta/testing/clock.py": "it is the other clock, and gives real threads real time",
}


def test_the_clock_is_read_in_the_clocks_own_file_only() -> None:
    """A `datetime.now()` elsewhere is a moment that no test can move."""
    calls = [
        f"{shown(path, line)} calls {name}"
        for distribution in distributions()
        for path in distribution.files()
        if shown(path) not in MAY_CALL
        for name, line in clock_calls(parsed(path))
    ]

    assert calls == []


def test_every_file_that_may_call_the_clock_is_there() -> None:
    """An exception for a file that has moved would excuse whatever takes its name."""
    present = {shown(path) for distribution in distributions() for path in distribution.files()}

    assert set(MAY_CALL) <= present


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import time\ntime.time()", ["time.time"]),
        ("import time as t\nt.monotonic()", ["time.monotonic"]),
        ("from time import time\ntime()", ["time.time"]),
        ("import datetime as dt\ndt.datetime.now(dt.UTC)", ["datetime.datetime.now"]),
        ("from datetime import datetime as d\nd.now()", ["datetime.datetime.now"]),
        ("from asyncio import sleep\nsleep(1)", ["asyncio.sleep"]),
        ("import asyncio\nasyncio.sleep(0)", []),
        ("def f(clock):\n    clock.now()\n    clock.sleep(1)", []),
    ],
)
def test_a_clock_call_is_found_under_whatever_name_it_was_imported(source: str, expected: list[str]) -> None:
    """The rule above finds calls through aliases, and leaves calls of our own clock alone."""
    found = [name for name, _ in clock_calls(ast.parse(source))]

    assert found == expected


def clock_calls(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Give the full name and line of each call that reads or awaits real time.

    `asyncio.sleep(0)` is left out: it gives way to others, and takes no time.
    """
    names = _imported_names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (name := _full_name(node.func, names)) in CLOCK_CALLS:
            if name == "asyncio.sleep" and [ast.dump(it) for it in node.args] == [ast.dump(ast.Constant(0))]:
                continue
            yield name, node.lineno


def _imported_names(tree: ast.Module) -> dict[str, str]:
    names = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _full_name(node: ast.expr, names: dict[str, str]) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_full_name(node.value, names)}.{node.attr}"
    return names.get(node.id, "") if isinstance(node, ast.Name) else ""
