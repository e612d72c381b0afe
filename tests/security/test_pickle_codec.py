"""What a secret has signed is read, for the task and the role that it was signed for; nothing else is."""

from __future__ import annotations

import copy
import hashlib
import hmac
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

from kapusta import ArgumentError, Kapusta, KapustaValueError, PickleCodec
from kapusta._arguments import Arguments
from kapusta._codec import Codecs, ForeignBytesError, Label, Role
from kapusta._errors import UnreadablePayloadError
from kapusta._executors._messages import Welcome
from tests.security.bombs import OLD_SECRET, SECRET, Moody, Order, bomb, bomb_call, exploded

if TYPE_CHECKING:
    from tests.security.bombs import Bomb as Hidden

PAY = Label("pay", Role.arguments)
BODY = b"the body"


def sealed(label: Label = PAY, *, secret: str = SECRET, body: bytes = BODY) -> bytes:
    """What a codec with this secret stores."""
    return PickleCodec(secret=secret).seal(body, label)


def test_the_signature_is_what_the_reference_says() -> None:
    """HMAC-SHA256 over codec, task, role, each with its length, and body: a change would lose all that is stored."""
    signed = b"".join(
        len(word).to_bytes(8, "big") + word for word in (b"pickle", "zählen".encode(), b"result")
    )

    data = sealed(Label("zählen", Role.result))

    assert data == hmac.digest(SECRET.encode(), signed + BODY, hashlib.sha256) + BODY


FORGED: dict[str, bytes] = {
    "nothing": b"",
    "not signed": BODY,
    "a signature alone": sealed()[:32],
    "truncated": sealed()[:-1],
    "a truncated signature": sealed()[1:],
    "longer": sealed() + b"!",
    "another body": sealed()[:32] + b"another",
    "one bit of the signature": bytes([sealed()[0] ^ 1]) + sealed()[1:],
    "another secret": sealed(secret=OLD_SECRET),
    "another task": sealed(Label("refund", Role.arguments)),
    "a result": sealed(Label("pay", Role.result)),
    "a border moved": sealed(Label("pa", Role.arguments), body=b"y" + BODY),
    "no key": hmac.digest(b"", BODY, "sha256") + BODY,
    "no secret": hashlib.sha256(BODY).digest() + BODY,
}


@pytest.mark.parametrize("data", FORGED.values(), ids=FORGED)
def test_what_is_not_signed_for_this_purpose_is_not_opened(data: bytes) -> None:
    """Forged, truncated, altered, or moved from another task or role: refused before anything is read."""
    with pytest.raises(ForeignBytesError, match="no secret that was given here has signed them"):
        PickleCodec(secret=SECRET).unseal(data, PAY)


def test_what_is_signed_is_opened() -> None:
    """The same bytes that the others are compared with."""
    assert PickleCodec(secret=SECRET).unseal(sealed(), PAY) == BODY


def test_a_secret_is_changed_without_losing_what_is_stored() -> None:
    """Of several secrets the first signs, and all of them open."""
    both = PickleCodec(secret=[SECRET, OLD_SECRET.encode()])

    assert both.seal(BODY, PAY) == sealed()
    assert both.unseal(sealed(secret=OLD_SECRET), PAY) == BODY
    assert both.unseal(sealed(), PAY) == BODY


@pytest.mark.parametrize(
    ("secret", "words"),
    [
        ("fifteen bytes..", "has 15 bytes, and needs 16 or more"),
        (b"", "has 0 bytes"),
        ("", "has 0 bytes"),
        ([], "is empty"),
        ([SECRET, "hunter2"], "has 7 bytes"),
        ([SECRET, 7], "has a value of type int where text or bytes should be"),
        (None, "has a value of type NoneType where"),
        (42, "has a value of type int where"),
    ],
)
def test_a_secret_that_is_none_is_refused(secret: Any, words: str) -> None:
    """Too short, empty, or no text: said when the codec is made, and without the secret."""
    with pytest.raises(KapustaValueError, match=words) as caught:
        PickleCodec(secret=secret)

    assert caught.value.option == "secret"
    assert "token_urlsafe" in str(caught.value)
    assert "hunter2" not in repr(vars(caught.value)) + "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("secret", ["sixteen bytes..!", "ü" * 8, b"\0" * 16])
def test_sixteen_bytes_are_enough(secret: str | bytes) -> None:
    """The limit itself is allowed; it is bytes that count."""
    assert PickleCodec(secret=secret).unseal(PickleCodec(secret=secret).seal(BODY, PAY), PAY) == BODY


def test_a_secret_is_not_shown(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the codec, nor what holds it, nor the message to a child says it when it is printed or logged."""
    codec = PickleCodec(secret=[SECRET, OLD_SECRET])
    kapusta = Kapusta("memory://", codec=codec)
    shown = [codec, kapusta, Welcome([], 0, codec.secrets()), vars(kapusta)["_settings"]]

    with caplog.at_level(logging.DEBUG):
        for each in shown:
            logging.getLogger("kapusta").info("%s %r", each, each)

    assert "PickleCodec(secret=...)" in caplog.text
    assert SECRET not in caplog.text
    assert OLD_SECRET not in caplog.text


@pytest.mark.parametrize("carry", [pickle.dumps, copy.deepcopy], ids=["pickle", "deepcopy"])
def test_a_codec_does_not_travel(carry: Callable[[object], object]) -> None:
    """As an argument of a task it would store its own secret."""
    with pytest.raises(TypeError, match="holds a secret"):
        carry(PickleCodec(secret=SECRET))


@pytest.mark.parametrize("codec", ["pickle", PickleCodec, pickle, object()])
def test_a_codec_is_a_pickle_codec(codec: Any) -> None:
    """Anything else is refused when the Kapusta is made."""
    with pytest.raises(KapustaValueError, match="is no PickleCodec"):
        Kapusta("memory://", codec=codec)


# --- calls ------------------------------------------------------------------------------------------


def anything(order, *others, **named):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN002, ANN003, ANN201 - that is the point
    """Take what JSON could not carry."""


def by_pickle(function: Callable[..., Any] = anything, secret: str = SECRET) -> Arguments:
    """The parameters of a function of task ``t``, whose calls are pickled."""
    return Arguments("t", function, Codecs(PickleCodec(secret=secret)))


def arrived(data: bytes, *, codec: str = "pickle", stored_as: str = "t") -> Any:
    """What a call arrives as."""
    return by_pickle().decode(data, codec=codec, stored_as=stored_as)


def test_a_call_arrives_as_it_was_whatever_is_annotated() -> None:
    """Sets, complex numbers, objects and tuples stay what they are, and no annotation is needed."""
    order = Order(7, {1j, 2})

    args, kwargs = arrived(by_pickle().encode((order, (1, 2), {3: None}), {"kind": frozenset("ab")}))

    assert args == (order, (1, 2), {3: None})
    assert [type(each) for each in args] == [Order, tuple, dict]
    assert kwargs == {"kind": frozenset("ab")}


class Array:
    """Compares element by element, as arrays do, so that no ``==`` of it is true or false."""

    def __eq__(self, other: object) -> Any:
        return self

    def __bool__(self) -> bool:
        raise ValueError("the truth of an array is ambiguous")

    __hash__ = None  # type: ignore[assignment]  # as of arrays


def test_an_object_need_not_be_comparable() -> None:
    """What pickle keeps is not compared with what arrives: arrays cannot be."""
    (value,), _ = arrived(by_pickle().encode((Array(),), {}))

    assert type(value) is Array


def annotated(order: Hidden) -> None:
    """Take what is imported for type checkers alone."""


def test_an_annotation_need_not_be_there_at_run_time() -> None:
    """Since pickle does without it, a type under TYPE_CHECKING is enough."""
    arguments = by_pickle(annotated)

    assert arguments.decode(arguments.encode((7,), {}), codec="pickle", stored_as="t") == ((7,), {})


def test_the_bomb_of_these_tests_goes_off() -> None:
    """Signed, it runs: so it is the signature that stops the others."""
    codec = PickleCodec(secret=SECRET)

    args, _ = arrived(codec.seal(codec.pack({"order": bomb()}), Label("t", Role.arguments)))

    assert args == ("boom",)
    assert exploded == ["boom"]


@pytest.mark.parametrize("data", [bomb_call("order"), b"\0" * 32 + bomb_call("order"), b'{"order": 7}', b""])
def test_a_call_that_is_not_signed_is_unreadable(data: bytes) -> None:
    """It says what to do about it, and runs nothing."""
    with pytest.raises(UnreadablePayloadError, match="has signed them as the arguments") as caught:
        arrived(data)

    assert "PickleCodec(secret=[new, old])" in str(caught.value)
    assert exploded == []


def test_a_call_in_json_is_read_by_json_alone() -> None:
    """A row that says `json` is never unpickled, and its values are what the annotations say."""
    with pytest.raises(UnreadablePayloadError):
        arrived(bomb(), codec="json")

    assert arrived(b'{"order": 7}', codec="json") == ((7,), {})
    assert exploded == []


@pytest.mark.parametrize("codec", ["Pickle", "pickle ", "", "marshal", "\0", "p" * 10_000])
def test_a_codec_that_nobody_knows_is_named(codec: str) -> None:
    """What a row says of its codec chooses among those that were given, and is shown cut."""
    with pytest.raises(UnreadablePayloadError, match="which was not given here") as caught:
        arrived(by_pickle().encode((7,), {}), codec=codec)

    assert len(str(caught.value)) < 1000


def test_a_worker_without_a_secret_says_what_it_needs() -> None:
    """Whoever reads the reason of a parked task knows what to start the worker with."""
    plain = Arguments("t", anything, Codecs())

    with pytest.raises(UnreadablePayloadError) as caught:
        plain.decode(by_pickle().encode((7,), {}), codec="pickle", stored_as="t")

    assert "Start this with Kapusta(codec=PickleCodec(secret=...))" in str(caught.value)


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (lambda: None, "argument 'order': it cannot be pickled"),
        (iter([]).__class__.__subclasshook__, "argument 'order': it cannot be pickled"),
        (Moody(), "does not fit its annotation: KeyError: 'not today'"),
        (PickleCodec(secret=SECRET), "argument 'order': it cannot be pickled: a PickleCodec holds a secret"),
    ],
)
def test_what_would_not_arrive_is_refused_at_launch(value: object, words: str) -> None:
    """By the name of the parameter, as with JSON: in the worker it would be a failed task."""
    with pytest.raises(ArgumentError) as caught:
        by_pickle().encode((value,), {})

    assert words in str(caught.value)
