"""Values to bytes and back to their annotated types."""

from __future__ import annotations

import operator
import types
import typing
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any, Final, Literal, NamedTuple, Protocol, Union

import msgspec

from ._brief import brief, said

NAME: Final = "json"
_NOTHING: Final = b"{}"
"""A call without arguments."""


class Role(StrEnum):
    """What stored bytes are to a task."""

    arguments = "arguments"
    result = "result"


class Label(NamedTuple):
    """What stored bytes belong to: the name that the task is stored under, and what they are to it."""

    task: str
    role: Role


class ForeignBytesError(ValueError):
    """Stored bytes that are not for the codecs here; *remedy* says what would change that."""

    def __init__(self, problem: str, remedy: str) -> None:
        self.problem, self.remedy = problem, remedy
        super().__init__(problem)


class Codec(Protocol):
    """How arguments and results become bytes; whatever is wrong with them is a ``ValueError``."""

    name: str
    """What a stored task remembers its codec by."""

    keeps_types: bool
    """Whether a value arrives as what it was, whatever its annotation says."""

    def encode(self, value: object) -> bytes:
        """*value* as bytes."""

    def decoder(self, shape: Any) -> Callable[[bytes], Any]:
        """What turns bytes into a value of the annotated type *shape*."""

    def pack(self, parts: Mapping[str, bytes]) -> bytes:
        """The encoded arguments of one call as one."""

    def unpack(self, body: bytes) -> dict[str, bytes]:
        """The encoded arguments of one call by their names."""

    def seal(self, body: bytes, label: Label) -> bytes:
        """What is stored of *body*, for this purpose and no other."""

    def unseal(self, data: bytes, label: Label) -> bytes:
        """The body that was sealed for this purpose; `ForeignBytesError` if *data* was not."""


class JsonCodec:
    """JSON by msgspec: dataclasses, datetimes, UUID, Decimal, enums, msgspec, attrs and pydantic models.

    A value arrives as its annotation says; without one, as plain JSON. Nothing in the bytes chooses a type.
    """

    name = NAME
    keeps_types = False

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder(enc_hook=_to_builtins)
        self._unpack = failing_clearly(msgspec.json.Decoder(dict[str, msgspec.Raw]).decode)

    def encode(self, value: object) -> bytes:
        try:
            return self._encoder.encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as problem:
            raise ValueError(said(problem)) from problem
        except Exception as problem:  # a value's own code may raise anything
            raise ValueError(f"encoding it raised {said(problem)}") from problem

    def decoder(self, shape: Any) -> Callable[[bytes], Any]:
        try:
            return failing_clearly(msgspec.json.Decoder(_readable(shape), dec_hook=_from_builtins).decode)
        except (TypeError, RecursionError) as problem:
            raise ValueError(f"its annotation cannot be decoded from JSON: {problem}") from problem
        except Exception as problem:  # msgspec evaluates the annotations of classes
            raise ValueError(
                f"an annotation within its type cannot be resolved: {said(problem)}"
            ) from problem

    def pack(self, parts: Mapping[str, bytes]) -> bytes:
        if not parts:
            return _NOTHING
        return msgspec.json.encode({name: msgspec.Raw(part) for name, part in parts.items()})

    def unpack(self, body: bytes) -> dict[str, bytes]:
        if body == _NOTHING:
            return {}
        return {name: bytes(part) for name, part in self._unpack(body).items()}

    def seal(self, body: bytes, label: Label) -> bytes:  # noqa: ARG002 - JSON may say it of any task
        return body

    def unseal(self, data: bytes, label: Label) -> bytes:  # noqa: ARG002 - the same
        return data


class Codecs:
    """The codecs of one Kapusta: it writes with the one that it was given, else JSON, and reads JSON as well."""

    def __init__(self, given: Codec | None = None) -> None:
        self.writer: Codec = given or JsonCodec()
        self._readers: dict[str, Codec] = {NAME: JsonCodec(), self.writer.name: self.writer}

    def named(self, name: str) -> Codec:
        """The codec that a stored task names; `ForeignBytesError` if there is none of that name here."""
        if name in self._readers:
            return self._readers[name]
        remedy = "Upgrade the packages here."
        if name == "pickle":
            remedy = (
                "Start this with Kapusta(codec=PickleCodec(secret=...)) and the secret of whoever wrote it."
            )
        raise ForeignBytesError(f"they were written by codec {brief(name)}, which was not given here", remedy)


def failing_clearly(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """*decode*, whose every failure is a ``ValueError``: a type's own code may raise anything, and depth too."""

    def decode_clearly(data: bytes) -> Any:
        try:
            return decode(data)
        except Exception as problem:
            raise ValueError(said(problem)) from problem

    return decode_clearly


def _to_builtins(value: Any) -> Any:
    """What msgspec does not know: subclasses of int and str, and pydantic models (without importing pydantic)."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str(value)
    if hasattr(type(value), "__pydantic_serializer__"):
        return value.model_dump(mode="json")
    raise TypeError(f"an object of type {type(value).__qualname__} cannot be encoded as JSON")


def _readable(shape: Any) -> Any:
    """*shape* with ``Any`` for each ``object`` in it, down to the fields of classes."""
    if shape is object:
        return Any
    origin, parts = typing.get_origin(shape), typing.get_args(shape)
    if origin is typing.Annotated:
        return typing.Annotated[(_readable(parts[0]), *parts[1:])]
    readable = tuple(map(_readable, parts))
    if origin is None or origin is Literal or all(map(operator.is_, readable, parts)):
        return shape
    if origin in (Union, types.UnionType):
        return Any if Any in readable else Union[readable]  # noqa: UP007 - the members are in a tuple
    return origin[readable]


def _from_builtins(shape: type[Any], value: Any) -> Any:
    if shape is object:  # the field of a class
        return value
    if hasattr(shape, "__pydantic_validator__"):
        return shape.model_validate(value)
    if issubclass(shape, (int, str)):
        return shape(value)
    raise ValueError(f"an object of type {shape.__qualname__} cannot be decoded from JSON")
