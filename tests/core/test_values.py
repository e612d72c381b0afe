"""What values arrive as: arguments and results as JSON, decoded to their annotations."""

from __future__ import annotations

import enum
import math
from collections import OrderedDict, namedtuple
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar
from uuid import UUID

import attrs
import msgspec
import pydantic
import pytest

from kapusta import ArgumentError, ResultUnreadableError, TaskHandle
from kapusta._arguments import Arguments
from kapusta._codec import Codecs, JsonCodec
from tests.core.example_task import NOW

T = TypeVar("T")


def shown(value: object) -> str:
    """A value as a test's name has it: short, and the same in every process."""
    text = repr(value)
    return text if len(text) < 40 and " at 0x" not in text else type(value).__name__


class Colour(enum.Enum):
    """By name and text."""

    red = "r"
    green = "g"


class Mixed(enum.Enum):
    """Values of two kinds."""

    text = "t"
    number = 2


class Level(enum.IntEnum):
    """An int, too."""

    high = 3


class Kind(enum.StrEnum):
    """A str, too."""

    good = "good"


@dataclass
class Line:
    """A dataclass."""

    price: Decimal
    when: datetime
    tags: set[str] = field(default_factory=set)


@dataclass(eq=False)
class NoEquality:
    """A dataclass that is equal to nothing but itself."""

    line: Line


class Struct(msgspec.Struct):
    """A msgspec class."""

    lines: list[Line]
    ident: UUID | None = None


@attrs.define
class Attrs:
    """An attrs class."""

    line: Line
    colour: Colour = Colour.red


class Model(pydantic.BaseModel):
    """A pydantic model."""

    price: Decimal
    child: Model | None = None


class Point(NamedTuple):
    """A named tuple."""

    x: int
    y: float


class Options(TypedDict, total=False):
    """A typed dict."""

    deep: bool


class Loose(msgspec.Struct):
    """A msgspec class with a field of any type."""

    anything: Any


@dataclass
class LooseData:
    """A dataclass with a field of any type."""

    anything: Any


@attrs.define
class LooseAttrs:
    """An attrs class with a field of any type."""

    anything: Any


class Id(int):
    """A user's own kind of int."""


class Text(str):
    """A user's own kind of str."""

    __slots__ = ()


UserId = NewType("UserId", int)
LINE = Line(Decimal("1.10"), NOW, {"a", "b"})


def arrives(annotation: Any, value: Any) -> Any:
    """What a parameter of this annotation gets when it is given this value."""

    def function(value: Any) -> None: ...

    function.__annotations__["value"] = annotation
    arguments = Arguments("t", function, Codecs())
    args, _ = arguments.decode(arguments.encode((value,), {}), codec="json", stored_as="t")
    return args[0]


def result(annotation: Any, value: Any) -> Any:
    """What a caller gets whose task returned this value, under this annotation."""

    def function() -> Any: ...

    function.__annotations__["return"] = annotation
    return Arguments("t", function, Codecs()).decode_result(
        JsonCodec().encode(value), codec="json", stored_as="t"
    )


@dataclass
class Box(Generic[T]):
    """A dataclass of anything."""

    content: T


@dataclass
class Crate:
    """A dataclass with fields of ``object``."""

    anything: object
    named: dict[str, object]
    perhaps: object | None
    point: Point


class CrateStruct(msgspec.Struct):
    """The same of msgspec."""

    anything: object
    many: list[object]


@attrs.define
class CrateAttrs:
    """The same of attrs."""

    anything: object


class CrateModel(pydantic.BaseModel):
    """The same of pydantic."""

    anything: object


@dataclass
class UnionData:
    """A field that msgspec cannot read, deep in a class."""

    anything: object | int


SAME = [
    (int, 2**63 - 1),
    (int, -(2**200)),
    (float, 0.1),
    (bool, True),
    (str, "ж 𝄞 \0 \u2028"),
    (bytes, bytes(range(256))),
    (type(None), None),
    (datetime, NOW),
    (datetime, datetime(2026, 5, 17, 12, 0, 0, 123456)),  # noqa: DTZ001 - a user's own naive one
    (datetime, NOW.astimezone(timezone(timedelta(hours=5, minutes=30)))),
    (date, date(2026, 5, 17)),
    (time, time(12, 30, 15, 5)),
    (timedelta, timedelta(days=-3, microseconds=7)),
    (UUID, UUID(int=5)),
    (Decimal, Decimal("1.10")),
    (Decimal, Decimal("123456789012345678901234567890.12345")),
    (Colour, Colour.red),
    (Colour, Colour.green),
    (Level, Level.high),
    (Kind, Kind.good),
    (Literal["a", "b"], "a"),
    (list[date], [date(2026, 5, 17)]),
    (tuple[int, str], (1, "x")),
    (tuple[date, ...], (date(2026, 5, 17),)),
    (set[int], {1, 2}),
    (frozenset[UUID], frozenset({UUID(int=1)})),
    (dict[str, Decimal], {"a": Decimal(1)}),
    (dict[int, str], {1: "x"}),
    (dict[UUID, list[date]], {UUID(int=1): [date(2026, 5, 17)]}),
    (date | None, None),
    (date | None, date(2026, 5, 17)),
    (int | str, "x"),
    (UserId, UserId(7)),
    (Annotated[int, msgspec.Meta(ge=0)], 7),
    (Options, {"deep": True}),
    (Point, Point(1, 2.5)),
    (Line, LINE),
    (Struct, Struct([LINE], UUID(int=9))),
    (Attrs, Attrs(LINE, Colour.green)),
    (Model, Model(price=Decimal("1.10"), child=Model(price=Decimal(2)))),
    (list[Model], [Model(price=Decimal("1.10"))]),
    (dict[str, Model], {"m": Model(price=Decimal("1.10"))}),
    (Id, Id(7)),
    (Text, Text("x")),
    (Any, {"a": [1, 2.5, None, True, "x"]}),
    (object, {"a": [1, 2.5, None, True, "x"]}),
    (object, 7),
    (list[object], [1, "x", None]),
    (dict[str, object], {"a": {"b": [1]}}),
    (dict[str, list[object]], {"a": [{"b": 1}]}),
    (dict[object, object], {"a": "b"}),
    (tuple[object, ...], (1, "x")),
    (object | None, None),
    (object | None, [1]),
    (Optional[object], {"a": 1}),  # noqa: UP045 - the older spelling is another class
    (object | int, "x"),
    (list[object | date], ["x"]),
    (Annotated[object, "any at all"], [1]),
    (list[Annotated[object, "any at all"]], [1]),
    (Box[object], Box([1, "x"])),
    (Box[dict[str, object]], Box({"a": [1]})),
    (Crate, Crate([1], {"a": "x"}, None, Point(1, 2.5))),
    (CrateStruct, CrateStruct({"a": 1}, [None, "x"])),
    (CrateAttrs, CrateAttrs(["x"])),
    (CrateModel, CrateModel(anything={"a": [1]})),
]


@pytest.mark.parametrize(("annotation", "value"), SAME, ids=shown)
def test_a_value_arrives_as_what_its_annotation_says(annotation: Any, value: Any) -> None:
    """The function gets the very type that it asks for, and the very value that was given."""
    got = arrives(annotation, value)

    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(("annotation", "value"), SAME, ids=shown)
def test_a_result_comes_back_as_what_its_annotation_says(annotation: Any, value: Any) -> None:
    """The same for what a function returns."""
    got = result(annotation, value)

    assert got == value
    assert type(got) is type(value)


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (Any, (1, (2, 3)), [1, [2, 3]]),
        (list[int], (1, 2), [1, 2]),
        (float, 1, 1.0),
        (Any, OrderedDict(a=1), {"a": 1}),
        (Any, Level.high, 3),
        (Any, Kind.good, "good"),
        (int, TaskHandle(7, None), 7),  # type: ignore[arg-type]  # it is only encoded
        (Any, [TaskHandle(7, None)], [7]),  # type: ignore[arg-type]  # it is only encoded
        (Any, Text("x"), "x"),
    ],
)
def test_what_is_equal_may_arrive_as_its_plain_kind(annotation: Any, value: Any, expected: Any) -> None:
    """A tuple as a list, a handle as the id that it is: nothing is lost."""
    got = arrives(annotation, value)

    assert got == expected
    assert type(got) is type(expected)


def test_an_object_without_equality_arrives_by_its_fields() -> None:
    """A dataclass with ``eq=False`` is taken at its fields' word."""
    got = arrives(NoEquality, NoEquality(LINE))

    assert isinstance(got, NoEquality)
    assert got.line == LINE


def test_not_a_number_is_a_decimal_like_another() -> None:
    """It is not equal to itself, and arrives all the same."""
    assert arrives(Decimal, Decimal("NaN")).is_nan()


pair = namedtuple("pair", "x y")  # noqa: PYI024 - the old kind, without annotations

CHANGED = [
    (Any, {1, 2}, "would arrive as [1, 2]"),
    (Any, NOW, "would arrive as '2026-05-17T12:00:00Z'"),
    (Any, UUID(int=5), "would arrive as '00000000-0000-0000-0000-000000000005'"),
    (Any, Decimal("1.10"), "would arrive as '1.10'"),
    (Any, Colour.red, "would arrive as 'r'"),
    (Any, b"bytes", "would arrive as 'Ynl0ZXM='"),
    (Any, {1: "x"}, "would arrive as {'1': 'x'}"),
    (Any, LINE, "would arrive as {"),
    (Any, [LINE], "would arrive as [{"),
    (Any, {"a": {"b": {1}}}, "would arrive as {'a': {'b': [1]}}"),
    (Any, Model(price=Decimal(1)), "would arrive as {'price': '1'"),
    (Any, math.nan, "would arrive as None"),
    (Loose, Loose({1}), "would arrive as Loose(anything=[1])"),
    (object, NOW, "would arrive as '2026-05-17T12:00:00Z'"),
    (dict[str, object], {"a": b"x"}, "would arrive as {'a': 'eA=='}"),
    (LooseData, LooseData(NOW), "would arrive as LooseData(anything='2026"),
    (LooseAttrs, LooseAttrs(Decimal(1)), "would arrive as LooseAttrs(anything='1')"),
    (set[Any], {Colour.red}, "would arrive as {'r'}"),
    (int | str, Colour.green, "would arrive as 'g'"),
]


@pytest.mark.parametrize(("annotation", "value", "words"), CHANGED, ids=shown)
def test_what_would_arrive_changed_is_refused(annotation: Any, value: Any, words: str) -> None:
    """Naming the parameter, the value and what would become of it: never a surprise inside the function."""
    with pytest.raises(ArgumentError) as caught:
        arrives(annotation, value)

    assert caught.value.parameter == "value"
    assert words in caught.value.problem
    assert "Annotate the parameter" in caught.value.remedy


@pytest.mark.parametrize(
    ("annotation", "value", "words"),
    [
        (int, "7", "does not fit its annotation: Expected `int`, got `str`"),
        (int, 1.5, "does not fit its annotation"),
        (str, None, "does not fit its annotation"),
        (float, math.nan, "does not fit its annotation"),
        (date, "yesterday", "does not fit its annotation"),
        (Line, {"price": 1}, "does not fit its annotation"),
        (Literal["a"], "b", "does not fit its annotation"),
        (Annotated[int, msgspec.Meta(ge=0)], -1, "Expected `int` >= 0"),
        (Model, {"child": None}, "does not fit its annotation"),
        (Mixed, Mixed.text, "Enums must contain either all str or all int"),
        (Any, object(), "an object of type object cannot be encoded as JSON"),
        (Any, lambda: None, "cannot be encoded"),
        (object, [object()], "cannot be encoded"),
        (Any, 1j, "cannot be encoded"),
        (str, "\ud800", "surrogates not allowed"),
        (type, int, "cannot be"),
        (UnionData, UnionData(1), "`object | int` is not supported"),
        (LooseData, LooseData(object()), "cannot be encoded"),
    ],
    ids=shown,
)
def test_what_cannot_be_stored_is_refused(annotation: Any, value: Any, words: str) -> None:
    """An ArgumentError that names the parameter, not whatever the encoder happened to raise."""
    with pytest.raises(ArgumentError) as caught:
        arrives(annotation, value)

    assert caught.value.parameter == "value"
    assert words in caught.value.problem
    assert caught.value.remedy


@pytest.mark.parametrize(
    ("annotation", "value", "words"),
    [
        (int, "seven", "Expected `int`, got `str`"),
        (date, None, "Expected `date`, got `null`"),
        (Mixed, Mixed.text, "Enums must contain either all str or all int"),
        ("Nowhere", 7, "'Nowhere' is not defined"),
        (Model, {"child": None}, "price"),
    ],
    ids=shown,
)
def test_a_result_that_is_not_what_was_announced_is_an_error_of_ours(
    annotation: Any, value: Any, words: str
) -> None:
    """The message names the task and the annotation, and nobody is told that nothing was launched."""
    with pytest.raises(ResultUnreadableError) as caught:
        result(annotation, value)

    assert caught.value.task == "t"
    assert words in caught.value.problem
    assert "Mend the function's return annotation" in str(caught.value)


def test_a_value_that_contains_itself_is_refused() -> None:
    """An endless value ends in an error, not in a crash of the interpreter."""
    endless: list[Any] = []
    endless.append(endless)

    with pytest.raises(ArgumentError, match="value"):
        arrives(Any, endless)


def test_an_annotation_that_cannot_be_decoded_is_refused_at_the_launch() -> None:
    """A parameter of a type that JSON does not know is named."""

    class Connection:
        """Something that lives."""

    with pytest.raises(ArgumentError, match="argument 'value'"):
        arrives(Connection, Connection())


def test_times_are_kept_to_the_microsecond() -> None:
    """Nothing is rounded on the way."""
    moment = datetime(2026, 5, 17, 23, 59, 59, 999999, tzinfo=UTC)

    assert arrives(datetime, moment) == moment
