from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest

from kapusta._signature import PlainSignature


def _nothing() -> None: ...


def _plain(order_id: int, copy_to: str = "office", *, urgent: bool = False) -> None: ...


def _keyword_only(*, order_id: int, note: str = "") -> None: ...


@pytest.mark.parametrize(
    ("function", "kwargs"),
    [
        (_nothing, {}),
        (_plain, {"order_id": 1}),
        (_plain, {"urgent": True, "order_id": 1}),
        (_plain, {"copy_to": "a", "urgent": True, "order_id": 1}),
        (_keyword_only, {"note": "n", "order_id": 1}),
    ],
)
def test_a_plain_signature_binds_what_inspect_binds(
    function: Callable[..., Any], kwargs: dict[str, Any]
) -> None:
    """A call must reach the function as Python's own rules say, defaults and order included."""
    signature = inspect.signature(function)
    bound = signature.bind(**kwargs)
    plain_signature = PlainSignature.of(signature)
    assert plain_signature is not None

    given = plain_signature.bind(kwargs)

    assert given is not None
    assert list(given.items()) == list(bound.arguments.items())
    bound.apply_defaults()
    assert plain_signature.call(given) == (bound.args, bound.kwargs)


@pytest.mark.parametrize("kwargs", [{}, {"copy_to": "a"}, {"order_id": 1, "surplus": 2}])
def test_a_call_that_does_not_fit_is_left_to_inspect(kwargs: dict[str, Any]) -> None:
    """A missing or surplus argument must be refused in inspect's words, not passed on."""
    signature = PlainSignature.of(inspect.signature(_plain))
    assert signature is not None

    assert signature.bind(kwargs) is None
    assert signature.call(kwargs) is None


def _positional_only(order_id: int, /) -> None: ...


def _args(*order_ids: int) -> None: ...


def _kwargs(**order_ids: int) -> None: ...


@pytest.mark.parametrize("function", [_positional_only, _args, _kwargs])
def test_a_signature_that_names_alone_cannot_fill_is_not_plain(function: Callable[..., Any]) -> None:
    """Such a call cannot be made of keywords: it would fail, or lose arguments."""
    assert PlainSignature.of(inspect.signature(function)) is None
