"""Results that would arrive as something else: how they are told from those that arrive as they were."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

import msgspec
import pytest

from kapusta import PickleCodec
from kapusta._arguments import Arguments
from kapusta._codec import Codecs
from kapusta._executors._attempt import ResultEncoder, Returned
from tests.core.example_task import NOW
from tests.core.test_values import CHANGED, SAME, Loose, LooseData, UnionData, shown

PICKLE = PickleCodec(secret="a secret of enough bytes")


def encoded(annotation: Any, value: object, codecs: Codecs | None = None) -> Returned:
    """Return what is stored of a function that returned *value* under *annotation*."""

    def function() -> Any: ...

    function.__annotations__["return"] = annotation
    codecs = codecs or Codecs()
    return ResultEncoder("t", codecs.writer, 1000, Arguments("t", function, codecs))(value)


@pytest.mark.parametrize(("annotation", "value"), SAME, ids=shown)
def test_a_result_that_arrives_as_it_was_is_no_problem(annotation: Any, value: Any) -> None:
    """A warning about a result that arrives whole would teach everybody to ignore warnings."""
    returned = encoded(annotation, value)

    assert returned.problem is None
    assert returned.result is not None


@pytest.mark.parametrize("value", [(1, 2), [(1,), {"a": (2,)}]], ids=shown)
def test_a_tuple_may_arrive_as_a_list(value: Any) -> None:
    """As among the arguments: half of all functions return a tuple, and lose nothing by a list."""
    assert encoded(Any, value).problem is None


@pytest.mark.parametrize(("annotation", "value", "_"), CHANGED, ids=shown)
def test_what_is_refused_as_an_argument_is_said_of_a_result(annotation: Any, value: Any, _: str) -> None:
    """One rule for both: what an argument may not be, a result does not become without a word."""
    returned = encoded(annotation, value)

    assert returned.result is not None
    assert "its result would arrive changed" in (returned.problem or "")


@pytest.mark.parametrize(
    ("annotation", "value", "problem"),
    [
        (Any, {1: b"x"}, "its result would arrive changed: {1: b'x'} as {'1': 'eA=='}"),
        (Any, {"a": [0, b"x"]}, "its result would arrive changed: at ['a'][1] b'x' as 'eA=='"),
        (dict[str, object], {"a": b"x"}, "its result would arrive changed: at ['a'] b'x' as 'eA=='"),
        (Any, math.inf, "its result would arrive changed: inf as None"),
        (Any, math.nan, "its result would arrive changed: nan as None"),
        (list[Loose], [Loose(1), Loose({1})], "its result would arrive changed: at [1].anything {1} as [1]"),
        (
            LooseData,
            LooseData(Decimal(1)),
            "its result would arrive changed: at .anything Decimal('1') as '1'",
        ),
        (int, "7", "its result '7' does not fit the return annotation: Expected `int`, got `str`"),
        (float, math.nan, "its result nan does not fit the return annotation: Expected `float`, got `null`"),
        (str, None, "its result None does not fit the return annotation: Expected `str`, got `null`"),
        (int, True, "its result True does not fit the return annotation: Expected `int`, got `bool`"),
        (None, 7, "its result 7 does not fit the return annotation: Expected `null`, got `int`"),
        (
            Annotated[int, msgspec.Meta(ge=0)],
            -1,
            "its result -1 does not fit the return annotation: Expected `int` >= 0",
        ),
        ("Nowhere", 7, "its result cannot be read: an annotation of the function cannot be resolved"),
        (date | str, "x", "its result cannot be read: its annotation cannot be decoded from JSON"),
        (UnionData, UnionData(1), "its result cannot be read: its annotation cannot be decoded from JSON"),
    ],
    ids=shown,
)
def test_the_problem_says_what_and_where(annotation: Any, value: Any, problem: str) -> None:
    """A person who reads the reason finds the very value, deep in a large result."""
    returned = encoded(annotation, value)

    assert returned.result is not None
    assert (returned.problem or "").startswith(problem)


def test_the_problem_of_a_large_result_is_short() -> None:
    """A reason is a line in a log, not a second copy of the result."""
    problem = encoded(Any, {"k" * 300: [b"x" * 300]}).problem or ""

    assert "its result would arrive changed: at ['kkk" in problem
    assert len(problem) < 500


def test_a_value_with_a_broken_comparison_is_stored_all_the_same() -> None:
    """The work is done: a value's own code must not turn a success into an error."""

    class Sly(dict[str, int]):
        def __eq__(self, other: object) -> bool:
            raise RuntimeError("no comparison")

        __hash__ = None  # type: ignore[assignment]  # as of any dictionary

    returned = encoded(Any, Sly(a=1))

    assert returned.result == b'{"a":1}'
    assert (
        returned.problem
        == "its result cannot be compared with what would arrive: RuntimeError: no comparison"
    )


@pytest.mark.parametrize(
    "value", [list(range(1000)), [{"id": n, "name": "x"} for n in range(1000)]], ids=["numbers", "rows"]
)
def test_a_long_result_is_compared_in_c(value: Any) -> None:
    """A call of ours for each element would cost many times what encoding and decoding cost."""
    arguments = Arguments("t", lambda: None, Codecs())
    body = Codecs().writer.encode(value)
    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event == "call"

    sys.setprofile(count)
    try:
        problem = arguments.result_problem(Codecs().writer, value, body)
    finally:
        sys.setprofile(None)

    assert problem is None
    assert 0 < calls < 200


@pytest.mark.parametrize("value", [{1: b"x"}, NOW, {1, 2}], ids=shown)
def test_pickle_keeps_types_so_nothing_is_compared(value: Any) -> None:
    """With a PickleCodec these arrive as they are, whatever the annotation says."""
    assert encoded(int, value, Codecs(PICKLE)).problem is None


@pytest.mark.parametrize(
    ("annotation", "value"),
    [(Any, None), (Any, "x"), (Any, 7), (Any, 1.5), (Any, True), (None, None), (str, "x"), (int | None, 7)],
    ids=shown,
)
def test_a_plain_result_is_not_decoded(annotation: Any, value: Any, forbid_decoding: Forbid) -> None:
    """Most tasks return nothing, or a number: they must not pay for the check of what the others return."""
    returned = encoded(annotation, value, forbid_decoding())

    assert returned.problem is None


def test_another_result_is_decoded(forbid_decoding: Forbid) -> None:
    """Or the test above would pass with a check that is never made."""
    with pytest.raises(AssertionError, match="decoded"):
        encoded(Any, [1], forbid_decoding())


Forbid = Callable[[], Codecs]


@pytest.fixture
def forbid_decoding(monkeypatch: pytest.MonkeyPatch) -> Forbid:
    """Return codecs whose decoders fail."""

    def forbid() -> Codecs:
        codecs = Codecs()

        def decode(data: bytes) -> Any:
            raise AssertionError(f"{data!r} was decoded")

        monkeypatch.setattr(codecs.writer, "decoder", lambda _: decode)
        return codecs

    return forbid
