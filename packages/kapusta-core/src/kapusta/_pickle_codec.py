"""Values by pickle, under a signature."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

import msgspec

from ._brief import said
from ._codec import Codecs, ForeignBytesError, Label, failing_clearly
from ._errors import KapustaValueError

LEAST_SECRET_BYTES: Final = 16
_PROTOCOL: Final = 5  # not the interpreter's newest: workers of several versions read the same rows
_SIGNATURE_BYTES: Final = 32

Secret = str | bytes


class PickleCodec:
    """Arguments and results as Python objects of any type that pickle knows, each under a signature.

    Unpickling runs whatever code the bytes ask for. So nothing is unpickled unless the secret has signed it, for
    this very task's name, and as arguments or as a result. Whoever has the secret can run code in every worker;
    whoever can write to the database cannot.

    ``Kapusta(codec=PickleCodec(secret=os.environ["KAPUSTA_SECRET"]))``

    Args:
        secret: text or bytes, of 16 bytes or more; all who launch, work or ask for results have the same. A sequence
            of them changes it over time: the first signs, all of them are accepted.

    Raises:
        KapustaValueError: there is no secret, or it is too short.
    """

    name = "pickle"
    keeps_types = True

    def __init__(self, *, secret: Secret | Sequence[Secret]) -> None:
        stated: object = secret
        is_one = isinstance(stated, (str, bytes)) or not isinstance(stated, Sequence)
        given: list[object] = [stated] if is_one else [*secret]
        if not given:
            raise _bad_secret("is empty")
        self._secrets = tuple(_key(each) for each in given)

    def __repr__(self) -> str:
        return "PickleCodec(secret=...)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a PickleCodec holds a secret, and does not travel; make another where it is needed")

    def encode(self, value: object) -> bytes:
        """See `Codec.encode`."""
        import pickle

        try:
            return pickle.dumps(value, _PROTOCOL)
        except Exception as problem:  # a value's own code may raise anything
            raise ValueError(f"it cannot be pickled: {said(problem)}") from problem

    def decoder(self, shape: Any) -> Callable[[bytes], Any]:  # noqa: ARG002 - the bytes say what it is
        """See `Codec.decoder`; only what `unseal` has let through may get here."""
        import pickle

        return failing_clearly(pickle.loads)

    def pack(self, parts: Mapping[str, bytes]) -> bytes:
        """See `Codec.pack`."""
        return msgspec.msgpack.encode(parts)

    def unpack(self, body: bytes) -> dict[str, bytes]:
        """See `Codec.unpack`."""
        return msgspec.msgpack.decode(body, type=dict[str, bytes])

    def seal(self, body: bytes, label: Label) -> bytes:
        """The signature by the first secret, and the body."""
        return _signature(self._secrets[0], body, label) + body

    def unseal(self, data: bytes, label: Label) -> bytes:
        """The body, if one of the secrets has signed it for *label*."""
        signature, body = data[:_SIGNATURE_BYTES], data[_SIGNATURE_BYTES:]
        for secret in self._secrets:
            if hmac.compare_digest(signature, _signature(secret, body, label)):
                return body
        raise ForeignBytesError(
            f"no secret that was given here has signed them as the {label.role} of this task",
            "Give the secret that signed them too, PickleCodec(secret=[new, old]); if there is none, somebody else "
            "has written to the store.",
        )

    def secrets(self) -> list[bytes]:
        """For a child process of the same application, over its own channel."""
        return list(self._secrets)


def codecs_with(codec: object) -> Codecs:
    """The codecs of a Kapusta that was given *codec*.

    Raises:
        KapustaValueError: it is neither a `PickleCodec` nor ``None``.
    """
    if codec is not None and not isinstance(codec, PickleCodec):
        raise KapustaValueError(
            option="codec",
            value=codec,
            problem="is no PickleCodec",
            remedy="Give PickleCodec(secret=...), or nothing for JSON.",
        )
    return Codecs(codec)


def _signature(secret: bytes, body: bytes, label: Label) -> bytes:
    """HMAC-SHA256 over all that the bytes must not be moved across; each with its length, so that none can borrow."""
    signing = hmac.new(secret, digestmod="sha256")
    for word in (PickleCodec.name, label.task, label.role):
        encoded = word.encode(errors="surrogatepass")
        signing.update(len(encoded).to_bytes(8, "big") + encoded)
    signing.update(body)
    return signing.digest()


def _key(secret: object) -> bytes:
    if not isinstance(secret, (str, bytes)):
        raise _bad_secret(f"has a value of type {type(secret).__name__} where text or bytes should be")
    key = secret if isinstance(secret, bytes) else secret.encode(errors="surrogatepass")
    if len(key) < LEAST_SECRET_BYTES:
        raise _bad_secret(f"has {len(key)} bytes, and needs {LEAST_SECRET_BYTES} or more")
    return key


class _Hidden:
    """A secret, as an error shows it."""

    def __repr__(self) -> str:
        return "..."


def _bad_secret(problem: str) -> KapustaValueError:
    return KapustaValueError(
        option="secret",
        value=_Hidden(),
        problem=problem,
        remedy='Make one, python -c "import secrets; print(secrets.token_urlsafe(32))", and keep it out of the code.',
    )
