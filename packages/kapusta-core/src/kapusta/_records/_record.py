"""What all records have in common."""

from __future__ import annotations

from typing import Any, Self, TypeVar

import msgspec

T = TypeVar("T")


class Record(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """Base of all records."""

    def replace(self, **changes: Any) -> Self:
        """A copy in which these fields have other values."""
        return msgspec.structs.replace(self, **changes)


def to_json(records: Any) -> bytes:
    """Encode records, or containers and dataclasses of records, as JSON; bytes become base64 text."""
    return msgspec.json.encode(records)


def from_json(data: bytes, shape: type[T]) -> T:
    """Decode what ``to_json`` encoded; *shape* is a record, a container such as ``list[StoredTask]``, or a dataclass.

    Raises:
        ValueError: *data* is not JSON, or not of that shape.
    """
    return msgspec.json.decode(data, type=shape)
