"""Any value is stored and arrives as it was, or is refused at launch; any bytes are a call, or an error of ours."""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Literal, NamedTuple, Self, TypedDict
from uuid import UUID

import msgspec
import pydantic
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from kapusta import ArgumentError, PickleCodec, ResultUnreadableError
from kapusta._arguments import Arguments
from kapusta._codec import Codecs, JsonCodec
from kapusta._errors import UnreadablePayloadError
from kapusta._executors._attempt import ResultEncoder
from tests.security.bombs import SECRET

FUZZ = settings(
    max_examples=300, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
DEPTH = 100_000


class Colour(enum.Enum):
    """By text."""

    red = "r"
    green = "g"


class Level(enum.IntEnum):
    """An int, too."""

    low = 1
    high = 3


class Name(str):
    """A str with a constructor that refuses some in its own way."""

    __slots__ = ()

    def __new__(cls, text: str = "n") -> Self:
        """Refuse what begins with an exclamation mark."""
        if text.startswith("!"):
            raise LookupError("no such name")
        return super().__new__(cls, text)


@dataclass
class Line:
    """A dataclass whose own check raises what it likes."""

    price: Decimal
    when: datetime | None = None
    tags: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        if self.price == 13:
            raise ArithmeticError("unlucky")


class Struct(msgspec.Struct):
    """A msgspec class that holds others, and itself."""

    lines: list[Line]
    child: Struct | None = None


class Model(pydantic.BaseModel):
    """A pydantic model."""

    price: Decimal
    child: Model | None = None


class Point(NamedTuple):
    """A named tuple."""

    x: int
    y: float


class Deep(TypedDict, total=False):
    """A typed dict that holds itself."""

    inner: Deep


SHAPES: list[Any] = [
    *(Any, None, bool, int, float, str, bytes, bytearray, Decimal, UUID, datetime, date, time, timedelta),
    *(list[int], tuple[int, str], tuple[int, ...], set[str], frozenset[int], dict[str, int], dict[int, str]),
    *(dict[str, Any], list[Any], int | None, int | str, list[dict[str, tuple[int, ...]]], Literal["a", 1]),
    *(Colour, Level, Name, Line, Struct, Model, Point, Deep, list[Line] | None, dict[UUID, date]),
]
JSON_LIKE = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(), st.integers(-(10**400), 10**400)
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=4)
    ),
    max_leaves=20,
)
OTHER = st.one_of(
    *(
        st.binary(),
        st.decimals(),
        st.uuids(),
        st.datetimes(),
        st.datetimes(timezones=st.just(UTC)),
    ),
    *(
        st.dates(),
        st.times(),
        st.timedeltas(),
        st.complex_numbers(),
        st.sampled_from([*Colour, *Level, Name("x"), Name]),
    ),
    *(
        st.sets(st.text()),
        st.frozensets(st.integers()),
        st.tuples(st.integers(), st.text()),
        st.just(object()),
    ),
    *(st.dictionaries(st.integers(), st.text()), st.dictionaries(st.tuples(st.integers()), st.none())),
    *(
        st.builds(Line, st.integers(20).map(Decimal)),
        st.just(Model(price=Decimal(1))),
        st.just(Point(1, 2.0)),
    ),
    *(
        st.characters(categories=["Cs"]),
        st.just(math.nan),
        st.just(Decimal("sNaN")),
        st.just(range(3)),
        st.just(int),
    ),
)


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=10)
INTS = st.integers(-(2**63), 2**64 - 1)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False)
LINES = st.builds(
    Line,
    DECIMALS.filter(lambda price: price != 13),
    st.none() | st.datetimes(timezones=st.just(UTC)),
    st.sets(TEXT, max_size=3),
)
TYPED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    *(
        (bool, st.booleans()),
        (int, INTS),
        (float, st.floats(allow_nan=False, allow_infinity=False)),
        (str, TEXT),
    ),
    *((bytes, st.binary()), (bytearray, st.binary().map(bytearray)), (Decimal, DECIMALS), (UUID, st.uuids())),
    *((datetime, st.datetimes()), (date, st.dates()), (time, st.times()), (timedelta, st.timedeltas())),
    *((list[int], st.lists(INTS)), (tuple[int, ...], st.lists(INTS).map(tuple)), (set[str], st.sets(TEXT))),
    *((dict[str, int], st.dictionaries(TEXT, INTS)), (dict[int, str], st.dictionaries(INTS, TEXT))),
    *((dict[UUID, date], st.dictionaries(st.uuids(), st.dates())), (int | str, INTS | TEXT)),
    *(
        (Colour, st.sampled_from(Colour)),
        (Level, st.sampled_from(Level)),
        (Point, st.builds(Point, INTS, st.just(0.5))),
    ),
    *((Line, LINES), (list[Line] | None, st.none() | st.lists(LINES, max_size=3))),
    (Struct, st.builds(Struct, st.lists(LINES, max_size=2), st.none() | st.builds(Struct, st.just([])))),
    (Model, st.builds(Model, price=DECIMALS, child=st.none())),
]


def of(shape: Any, codecs: Codecs | None = None) -> Arguments:
    """The parameters of a function that takes one of *shape*, and returns one."""

    def function(value: Any) -> Any:
        return value

    function.__annotations__ = {"value": shape, "return": shape}
    return Arguments("t", function, codecs or Codecs())


JSON = {str(shape): of(shape) for shape in SHAPES}
SIGNED = Codecs(PickleCodec(secret=SECRET))
PICKLE = of(Any, SIGNED)
ANY_SHAPE = st.sampled_from(list(JSON))


def alike(sent: Any, arrived: Any) -> bool:
    """Whether a value arrived: equal, a tuple as a list, not-a-number as itself."""
    if isinstance(sent, (list, tuple)) and isinstance(arrived, (list, tuple)):
        return len(sent) == len(arrived) and all(map(alike, sent, arrived))
    if isinstance(sent, dict) and isinstance(arrived, dict):
        return sent.keys() == arrived.keys() and all(alike(sent[key], arrived[key]) for key in sent)
    return (is_nan(sent) and is_nan(arrived)) or bool(sent == arrived)


def is_nan(value: Any) -> bool:
    """Whether it is not a number, of either kind."""
    return value.is_nan() if isinstance(value, Decimal) else bool(value != value)  # noqa: PLR0124 - as said


def sent_and_arrived(arguments: Arguments, value: Any) -> Any:
    """What a value arrives as; itself, if it is refused."""
    try:
        payload = arguments.encode((value,), {})
    except ArgumentError as refusal:
        assert refusal.parameter == "value"  # noqa: PT017 - some values are refused, most are not
        return value
    (arrived,), _ = arguments.decode(payload, codec=arguments.written_by, stored_as="t")
    return arrived


@FUZZ
@given(JSON_LIKE)
@example(10**5000)
@example("\ud800")
@example({"\ud800": 1})
@example(-0.0)
def test_what_json_can_hold_arrives_as_it_was(value: Any) -> None:
    """Without an annotation; what would not, infinity and an int of five thousand digits, is refused by name."""
    assert alike(value, sent_and_arrived(JSON[str(Any)], value))


@FUZZ
@given(ANY_SHAPE, st.one_of(JSON_LIKE, OTHER))
@example(str(Any), Decimal("sNaN"))
@example(str(Decimal), Decimal("sNaN"))
@example(str(Name), "!")
@example(str(Line), {"price": 13})
def test_any_value_under_any_annotation_arrives_or_is_refused(shape: str, value: Any) -> None:
    """Whatever is passed where whatever is annotated: it arrives equal, or `ArgumentError` names the parameter."""
    assert alike(value, sent_and_arrived(JSON[shape], value)) or type(value) is object


@FUZZ
@given(st.one_of(*(st.tuples(st.just(shape), values) for shape, values in TYPED)))
def test_a_value_of_its_annotation_arrives(typed: tuple[Any, Any]) -> None:
    """What fits its annotation is never refused, and comes back equal and of its type."""
    shape, value = typed
    arguments = JSON[str(shape)]

    payload = arguments.encode((value,), {})

    (arrived,), _ = arguments.decode(payload, codec="json", stored_as="t")
    assert arrived == value
    assert type(arrived) is type(value)


@FUZZ
@given(st.one_of(JSON_LIKE, OTHER))
def test_any_value_is_pickled_or_refused(value: Any) -> None:
    """By pickle, what arrives has its type too."""
    arrived = sent_and_arrived(PICKLE, value)

    assert type(arrived) is type(value)
    assert type(value) is object or alike(value, arrived)


def returned_and_read(arguments: Arguments, codecs: Codecs, value: Any) -> tuple[Any, str | None]:
    """What a result is read as, if it is stored and can be read, and what its reason says."""
    encode = ResultEncoder("t", codecs.writer, 1 << 20, arguments)
    returned = encode(value)
    if returned.result is None:
        return UNREADABLE, returned.problem
    try:
        read = arguments.decode_result(returned.result, codec=codecs.writer.name, stored_as="t")
    except ResultUnreadableError:
        read = UNREADABLE
    return read, returned.problem


UNREADABLE = object()


@FUZZ
@given(ANY_SHAPE, st.one_of(JSON_LIKE, OTHER))
@example(str(Any), 10**5000)
@example(str(int), 10**5000)
@example(str(Any), math.inf)
@example(str(float), math.nan)
@example(str(Any), {1: b"x"})
@example(str(Line), {"price": 13})
@example(str(Name), "!")
def test_a_result_that_is_read_as_something_else_says_so(shape: str, value: Any) -> None:
    """Whatever is returned where whatever is annotated: without a reason it is read as it was returned."""
    read, reason = returned_and_read(JSON[shape], Codecs(), value)

    assert alike(value, read) or reason is not None
    assert reason is None or len(reason) < 1500


@FUZZ
@given(st.one_of(*(st.tuples(st.just(shape), values) for shape, values in TYPED)))
def test_a_result_of_its_annotation_has_no_reason(typed: tuple[Any, Any]) -> None:
    """A reason that is there for nothing is soon not read any more."""
    shape, value = typed

    assert returned_and_read(JSON[str(shape)], Codecs(), value) == (value, None)


@FUZZ
@given(JSON_LIKE)
def test_a_plain_result_has_a_reason_only_if_it_is_read_as_something_else(value: Any) -> None:
    """Plain data has a reason exactly if it is read as something else."""
    read, reason = returned_and_read(JSON[str(Any)], Codecs(), value)

    assert (reason is None) == alike(value, read)


@FUZZ
@given(st.one_of(JSON_LIKE, OTHER))
def test_a_pickled_result_has_no_reason(value: Any) -> None:
    """By pickle everything is read as it was returned, so nothing is compared."""
    _, reason = returned_and_read(PICKLE, SIGNED, value)

    assert reason is None or "was not stored" in reason


# --- bytes ------------------------------------------------------------------------------------------


def check_bytes(arguments: Arguments, payload: bytes, *, codec: str) -> None:
    """Bytes are a call, or an error that says so in a few words; likewise as a result."""
    try:
        arguments.decode(payload, codec=codec, stored_as="t")
    except UnreadablePayloadError as problem:
        assert len(str(problem)) < 1500  # noqa: PT017 - most bytes are no call, some are
    try:
        arguments.decode_result(payload, codec=codec, stored_as="t")
    except ResultUnreadableError as problem:
        assert len(str(problem)) < 1500  # noqa: PT017 - the same


def mutated(data: bytes, where: int, byte: int) -> bytes:
    """*data* with another byte somewhere."""
    where %= len(data) or 1
    return data[:where] + bytes([byte]) + data[where + 1 :]


ENCODED = JSON_LIKE.map(lambda value: _encoded({"value": value}))
BYTES = st.one_of(
    st.binary(),
    st.builds(mutated, ENCODED, st.integers(0), st.integers(0, 255)),
    ENCODED,
    ENCODED.map(lambda data: data[: len(data) // 2]),
    st.text().map(lambda text: b'{"value": "' + text.encode(errors="surrogatepass") + b'"}'),
    st.sampled_from(
        [b'{"value":1e999}', b'{"value":' + b"9" * 5000 + b"}", b'{"value":"!"}', b'{"value":{"price":13}}']
    ),
)


def _encoded(value: Any) -> bytes:
    try:
        return JsonCodec().encode(value)
    except ValueError:
        return b"null"


@FUZZ
@given(ANY_SHAPE, BYTES)
def test_any_bytes_are_a_call_or_an_error_of_ours(shape: str, data: bytes) -> None:
    """Whatever stands in the row, and whatever the constructors of the application raise: it is unreadable, and said."""
    check_bytes(JSON[shape], data, codec="json")


@FUZZ
@given(BYTES, st.sampled_from(["json", "pickle"]))
def test_no_bytes_are_unpickled_without_a_signature(data: bytes, codec: str) -> None:
    """For a worker with a secret, whatever the row says wrote it."""
    check_bytes(PICKLE, data, codec=codec)
    if codec == "pickle":
        with pytest.raises(UnreadablePayloadError, match="no secret that was given here has signed them"):
            PICKLE.decode(data, codec=codec, stored_as="t")


@pytest.mark.parametrize("shape", [Any, list[Any], dict[str, Any], Deep, Struct, Model, str], ids=str)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"[", b"]"),
        (b'{"inner":', b"}"),
        (b'{"lines":[],"child":', b"}"),
        (b'{"price":1,"child":', b"}"),
        (b"[", b""),
    ],
    ids=["lists", "typed dicts", "structs", "models", "open lists"],
)
def test_depth_is_an_error_and_no_crash(shape: Any, before: bytes, after: bytes) -> None:
    """A hundred thousand levels within each other are unreadable; they neither hang nor end the worker."""
    data = before * DEPTH + b"null" + after * DEPTH

    for payload in (data, b'{"value":' + data + b"}", b'{"other":' + data + b"}"):
        check_bytes(JSON[str(shape)], payload, codec="json")
        with pytest.raises(UnreadablePayloadError):
            JSON[str(shape)].decode(payload, codec="json", stored_as="t")


def nested(wrap: Callable[[Any], Any]) -> Any:
    """Something in something, a hundred thousand times."""
    value: Any = None
    for _ in range(DEPTH):
        value = wrap(value)
    return value


@pytest.mark.parametrize("arguments", [JSON[str(Any)], PICKLE], ids=["json", "pickle"])
@pytest.mark.parametrize(
    "wrap", [lambda it: [it], lambda it: {"k": it}, lambda it: (it,)], ids=["lists", "dicts", "tuples"]
)
def test_a_deep_argument_is_refused(arguments: Arguments, wrap: Callable[[Any], Any]) -> None:
    """At launch, by name, as what cannot be encoded; showing it does not fail either."""
    with pytest.raises(ArgumentError) as caught:
        arguments.encode((nested(wrap),), {})

    assert caught.value.parameter == "value"
    assert len(str(caught.value)) < 1500
