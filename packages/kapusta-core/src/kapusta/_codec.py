"""Values to bytes and back to their annotated types."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

NAME: Final = "json"


class Codec(Protocol):
    """How arguments and results become bytes."""

    name: str
    """What a stored task remembers its codec by."""

    def encode(self, value: object) -> bytes:
        """*value* as bytes; raises ``ValueError`` with the reason if it cannot be."""

    def decoder(self, shape: Any) -> Callable[[bytes], Any]:
        """What turns bytes into a value of the annotated type *shape*; the result raises ``ValueError``."""


class JsonCodec:
    """JSON by msgspec: dataclasses, datetimes, UUID, Decimal, enums, msgspec, attrs and pydantic models.

    A value arrives as its annotation says; without one, as plain JSON.
    """

    name = NAME

    def __init__(self) -> None:
        self._encoder = msgspec.json.Encoder(enc_hook=_to_builtins)

    def encode(self, value: object) -> bytes:
        try:
            return self._encoder.encode(value)
        except (TypeError, ValueError, OverflowError, RecursionError) as problem:
            raise ValueError(str(problem)) from problem

    def decoder(self, shape: Any) -> Callable[[bytes], Any]:
        try:
            return msgspec.json.Decoder(shape, dec_hook=_from_builtins).decode
        except (TypeError, RecursionError) as problem:
            raise ValueError(f"its annotation cannot be decoded from JSON: {problem}") from problem


def _to_builtins(value: Any) -> Any:
    """What msgspec does not know: subclasses of int and str, and pydantic models (without importing pydantic)."""
    if isinstance(value, int):
        return int(value)
    if isinstance(value, str):
        return str(value)
    if hasattr(type(value), "__pydantic_serializer__"):
        return value.model_dump(mode="json")
    raise TypeError(f"an object of type {type(value).__qualname__} cannot be encoded as JSON")


def _from_builtins(shape: type[Any], value: Any) -> Any:
    if hasattr(shape, "__pydantic_validator__"):
        return shape.model_validate(value)
    if issubclass(shape, (int, str)):
        return shape(value)
    raise ValueError(f"an object of type {shape.__qualname__} cannot be decoded from JSON")
