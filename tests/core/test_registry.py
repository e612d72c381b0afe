"""The tasks of one Kapusta, by name and alias."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest

from kapusta import DuplicateTaskError, TaskExecutionMode
from kapusta._arguments import Arguments
from kapusta._codec import Codecs
from kapusta._options import Policy, TaskOptions
from kapusta._registry import Registry
from kapusta._spec import TaskSpec


def first() -> None:
    """A task."""


def second() -> None:
    """Another."""


def spec(name: str, *aliases: str, function: Callable[..., Any] = first) -> TaskSpec:
    """A registered function."""
    return TaskSpec(
        name=name,
        aliases=aliases,
        function=function,
        is_async=False,
        arguments=Arguments(name, function, Codecs()),
        options=TaskOptions(execution_mode=TaskExecutionMode.sync, policy=Policy()),
        importable=None,
    )


def test_a_task_is_found_by_its_name_and_by_its_aliases() -> None:
    """A task that was renamed still runs what is stored under its old name."""
    registry = Registry(Codecs())
    invoice = spec("invoice", "bill", "send_bill")

    registry.add(invoice)

    assert [registry.get(name) for name in ("invoice", "bill", "send_bill", "other")] == [invoice] * 3 + [
        None
    ]
    assert registry.names == {"invoice", "bill", "send_bill"}
    assert list(registry) == [invoice]


@pytest.mark.parametrize(
    ("there", "new", "name"),
    [
        (spec("a"), spec("a", function=second), "a"),
        (spec("a"), spec("b", "a", function=second), "a"),
        (spec("a", "old"), spec("old", function=second), "old"),
        (spec("a", "old"), spec("b", "old", function=second), "old"),
    ],
)
def test_a_name_that_is_taken_is_refused_and_changes_nothing(
    there: TaskSpec, new: TaskSpec, name: str
) -> None:
    """Neither of two functions of one name silently replaces the other; the message shows where both are."""
    registry = Registry(Codecs())
    registry.add(there)

    with pytest.raises(DuplicateTaskError) as caught:
        registry.add(new)

    assert caught.value.name == name
    for function, task in [(first, "a"), (second, new.name)]:
        line = function.__code__.co_firstlineno
        assert f"{__name__}.{function.__name__} (task '{task}', {__file__}:{line})" in str(caught.value)
    assert list(registry) == [there]
    assert registry.names == {there.name, *there.aliases}


def test_a_function_that_is_wrapped_is_shown_where_it_is_written() -> None:
    """Not where its decorator is; and what has no line of its own is named without one."""
    wrapped = functools.wraps(first)(lambda: None)
    registry = Registry(Codecs())
    registry.add(spec("a", function=wrapped))

    with pytest.raises(DuplicateTaskError) as caught:
        registry.add(spec("a", function=functools.partial(second)))

    assert caught.value.first == f"{__name__}.first (task 'a', {__file__}:{first.__code__.co_firstlineno})"
    assert caught.value.second.endswith("(task 'a')")


@pytest.mark.parametrize("confused", [spec("a", "a"), spec("a", "b", "b")])
def test_a_task_that_goes_by_one_name_twice_is_refused(confused: TaskSpec) -> None:
    """It is a slip of the pen, and nothing of it is registered."""
    registry = Registry(Codecs())

    with pytest.raises(DuplicateTaskError):
        registry.add(confused)

    assert registry.names == frozenset()


@pytest.mark.parametrize(
    ("count", "words"),
    [
        (0, "no tasks"),
        (1, "1 task: t0"),
        (2, "2 tasks: t0, t1"),
        (10, "10 tasks: t0, t1, t2, t3, t4, t5, t6, t7, t8, t9"),
        (12, "12 tasks: t0, t1, t2, t3, t4, t5, t6, t7, t8, t9 and 2 more"),
    ],
)
def test_a_kapusta_says_which_tasks_it_knows(count: int, words: str) -> None:
    """The first ten by name, without their aliases, so that a line is enough for many."""
    registry = Registry(Codecs())
    for number in range(count):
        registry.add(spec(f"t{number}", f"old{number}"))

    assert registry.in_words() == words
