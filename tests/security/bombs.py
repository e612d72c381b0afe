"""What an attacker would have a worker unpickle, and what honest people would."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from typing import Any

import msgspec

SECRET = "the secret of these tests, which is long enough"
OLD_SECRET = "the secret that there was before it"
exploded: list[str] = []
"""A word for each bomb that went off in this process."""


def go_off(word: str, path: str | None) -> str:
    """Show that foreign code has run: here, and at *path* for those who look from another process."""
    exploded.append(word)
    if path is not None:
        with open(path, "a") as file:  # noqa: PTH123 - a bomb is one call, of what is at hand
            file.write(f"{os.getpid()} {word}\n")
    return word


class Bomb:
    """Unpickling it calls `go_off`."""

    def __init__(self, path: str | None = None) -> None:
        self._path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return go_off, ("boom", self._path)


def bomb(path: str | None = None) -> bytes:
    """A pickle that runs code when it is read."""
    return pickle.dumps(Bomb(path))


def bomb_call(parameter: str, path: str | None = None) -> bytes:
    """A call as a `PickleCodec` packs it, with a bomb as its one argument; nobody has signed it."""
    return msgspec.msgpack.encode({parameter: bomb(path)})


@dataclass
class Order:
    """A class of the application's own, that JSON knows nothing about where nothing is annotated."""

    number: int
    parts: set[complex]


class Moody:
    """Pickles well, and cannot be unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return refuse, ()


def refuse() -> None:
    """Not be made."""
    raise KeyError("not today")
