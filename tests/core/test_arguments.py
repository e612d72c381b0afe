"""A call against a signature: how it becomes bytes, and bytes a call."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from kapusta import ArgumentError, TaskSignatureError
from kapusta._arguments import Arguments
from kapusta._codec import Codecs
from kapusta._errors import UnreadablePayloadError

if TYPE_CHECKING:
    from decimal import Decimal


def arguments(function: Callable[..., Any]) -> Arguments:
    """The parameters of a function."""
    return Arguments("t", function, Codecs())


def arrived(
    function: Callable[..., Any], *args: Any, **kwargs: Any
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """How a call of the function arrives where it runs."""
    ready = arguments(function)
    return ready.decode(ready.encode(args, kwargs), codec="json", stored_as="t")


def nothing() -> None:
    """Take nothing."""


def plain(a: int, b: str = "b", *, c: float = 1.5) -> None:
    """Take all kinds."""


def positional(a: int, b: int = 2, /, c: int = 3) -> None:
    """Take two by position only."""


def many(first: int, *rest: datetime, flag: bool = False, **named: int) -> None:
    """Take any number."""


def bare(a, b=None):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - that is the point
    """Take whatever comes: not everybody annotates."""


NOON = datetime(2026, 5, 17, 12)  # noqa: DTZ001 - a naive one is the user's own, and stays one


@pytest.mark.parametrize(
    ("function", "args", "kwargs"),
    [
        (nothing, (), {}),
        (plain, (1,), {}),
        (plain, (1, "x"), {"c": 2.0}),
        (plain, (), {"b": "x", "a": 1}),
        (positional, (1,), {}),
        (positional, (1, 5), {"c": 6}),
        (many, (1,), {}),
        (many, (1, NOON, NOON), {"flag": True, "x": 1, "y": 2}),
        (many, (1,), {"args": 1, "self": 2, "kwargs": 3}),
        (bare, ({"a": [1, 2.5, "x", None, True]},), {"b": "ж\u2028\0"}),
    ],
)
def test_a_call_arrives_as_it_was_made(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> None:
    """Positional, keyword, variadic: the function sees the call that the launcher made."""
    seen: list[object] = []

    def spy(call: tuple[tuple[Any, ...], dict[str, Any]]) -> dict[str, Any]:
        import inspect

        bound = inspect.signature(function).bind(*call[0], **call[1])
        bound.apply_defaults()
        seen.append(call)
        return dict(bound.arguments)

    assert spy(arrived(function, *args, **kwargs)) == spy((args, kwargs))


@pytest.mark.parametrize(
    ("function", "args", "kwargs", "words"),
    [
        (plain, (), {}, "missing a required argument: 'a'"),
        (plain, (1, "b", 2.0), {}, "too many positional arguments"),
        (plain, (1,), {"d": 1}, "got an unexpected keyword argument 'd'"),
        (plain, (1,), {"a": 1}, "multiple values for argument 'a'"),
        (positional, (), {"a": 1}, "a"),
        (nothing, (1,), {}, "too many positional arguments"),
    ],
)
def test_a_call_that_does_not_fit_is_refused_with_the_signature(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], words: str
) -> None:
    """Where the call is made, not hours later in a worker; and the message shows what would fit."""
    with pytest.raises(ArgumentError) as caught:
        arguments(function).encode(args, kwargs)

    assert words in str(caught.value)
    assert "Task 't' was not launched" in str(caught.value)
    assert "The function takes (" in str(caught.value)


def test_each_default_is_that_of_the_code_that_runs() -> None:
    """What the caller left out is not stored: a new default counts for tasks that are waiting already."""
    stored = arguments(plain).encode((1,), {})

    def plain_today(a: int, b: str = "another", *, c: float = 2.5) -> None: ...

    assert stored == b'{"a":1}'
    _, kwargs = arguments(plain_today).decode(stored, codec="json", stored_as="t")
    assert kwargs.get("b", "another") == "another"


def changed_order(b: str, a: int) -> None:
    """The same, the other way round."""


def with_default(a: int, new: str = "new", b: str = "") -> None:
    """One more, in the middle."""


def new_in_front(new: int = 0, a: int = 0, b: str = "", /) -> None:
    """One more, in front of positional ones."""


def new_before_rest(first: int, new: int = 0, *rest: int) -> None:
    """One more, before any number of others."""


def old(a: int, b: str) -> None:
    """As it was launched."""


def old_rest(first: int, *rest: int) -> None:
    """As it was launched, with any number."""


@pytest.mark.parametrize(
    ("then", "call", "now", "bound"),
    [
        (old, (1, "x"), changed_order, {"a": 1, "b": "x"}),
        (old, (1, "x"), with_default, {"a": 1, "new": "new", "b": "x"}),
        (old, (1, "x"), new_in_front, {"new": 0, "a": 1, "b": "x"}),
        (old_rest, (1, 2, 3), new_before_rest, {"first": 1, "new": 0, "rest": (2, 3)}),
    ],
)
def test_a_function_may_change_while_its_tasks_wait(
    then: Callable[..., Any], call: tuple[Any, ...], now: Callable[..., Any], bound: dict[str, Any]
) -> None:
    """Parameters reordered, or new ones with a default: what is stored still means the same."""
    import inspect

    args, kwargs = arguments(now).decode(arguments(then).encode(call, {}), codec="json", stored_as="t")

    assert inspect.signature(now).bind(*args, **kwargs).arguments == bound


@pytest.mark.parametrize(
    ("payload", "words"),
    [
        (b'{"a":1,"gone":2}', "there is no parameter 'gone'"),
        (b'{"b":"x"}', "missing a required argument: 'a'"),
        (b'{"a":"one"}', "Expected `int`, got `str`"),
        (b"[1]", "Expected `object`, got `array`"),
        (b"", "truncated"),
        (b"\x80\x04K\x01.", "malformed"),
        (b'{"a":1', "truncated"),
    ],
)
def test_what_does_not_fit_the_function_any_more_is_unreadable(payload: bytes, words: str) -> None:
    """A worker parks such a task with the reason, and never calls the function with half of its arguments."""
    with pytest.raises(UnreadablePayloadError) as caught:
        arguments(plain).decode(payload, codec="json", stored_as="t")

    assert caught.value.task == "t"
    assert words in str(caught.value)


def generator() -> Iterator[int]:
    """Calling it runs nothing."""
    yield 1


async def async_generator() -> Any:
    """Neither does this."""
    yield 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda update_params: None, "has a parameter named 'update_params'"),
        (int, "has no signature to check calls against"),
        (generator, "is a generator function"),
        (async_generator, "is a generator function"),
    ],
)
def test_a_function_that_cannot_be_launched_is_refused(function: Callable[..., Any], words: str) -> None:
    """At its registration, with what to do instead."""
    with pytest.raises(TaskSignatureError, match=words) as caught:
        arguments(function)

    assert caught.value.remedy


def test_an_annotation_that_only_a_type_checker_sees_is_refused_with_the_remedy() -> None:
    """Under TYPE_CHECKING alone the type is not there when arguments arrive; the launch says so."""

    def pay(amount: Decimal) -> None: ...

    with pytest.raises(ArgumentError, match=r"'Decimal' is not defined.*not only under TYPE_CHECKING"):
        arguments(pay).encode((1,), {})


def test_a_call_without_arguments_needs_no_annotations() -> None:
    """The simplest task is the cheapest, and nothing about it can fail to resolve."""

    def ping(amount: Decimal | None = None) -> None: ...

    assert arguments(ping).encode((), {}) == b"{}"


def test_what_wraps_a_function_is_launched_by_the_wrapped_ones_types() -> None:
    """A decorator of the user's does not cost the types of the parameters."""
    import functools

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return wrapper

    @decorate
    def at(moment: datetime) -> None: ...

    assert arrived(at, NOON) == ((NOON,), {})
