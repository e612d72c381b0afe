"""Annotations are found where they are, and one that cannot be resolved spoils nothing else."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Never, NoReturn

import pytest

from kapusta import ArgumentError, Kapusta
from kapusta.backend import TaskQuery
from kapusta_memory import MemoryCRUD
from tests.core.example_task import NOW

if TYPE_CHECKING:
    from decimal import Decimal


class Called:
    """An object that can be called."""

    def __call__(self, moment: datetime | None = None) -> datetime | None:
        """Return what was given."""
        return moment


def typed(moment: datetime | None = None, *, other: int) -> datetime | None:
    """Return what was given."""
    return moment


def untyped(function: Any) -> Any:
    """Decorate with what has annotations of its own."""

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


@pytest.fixture
def kapusta() -> Kapusta:
    """A Kapusta in memory."""
    return Kapusta(crud=MemoryCRUD())


CALLABLES = [
    pytest.param(Called(), id="object"),
    pytest.param(functools.partial(typed, other=1), id="partial"),
    pytest.param(functools.partial(functools.partial(typed), other=1), id="partial of a partial"),
    pytest.param(untyped(functools.partial(typed, other=1)), id="decorated partial"),
    pytest.param(functools.partial(untyped(typed), other=1), id="partial of a decorated one"),
    pytest.param(Called().__call__, id="method"),
]


@pytest.mark.parametrize("function", CALLABLES)
async def test_whatever_can_be_called_has_the_types_of_what_it_calls(kapusta: Kapusta, function: Any) -> None:
    """An object with ``__call__`` and a partial application can be tasks: their arguments and results keep their types."""
    task = kapusta.register_task(function, name="t")

    async with kapusta:
        handle = await task.launch(moment=NOW)
        await kapusta.run_until_idle()

        assert await handle.result() == NOW


def unresolved_parameter(amount: Decimal | None = None) -> None:
    """Take, if anything, what only a type checker sees."""


def never() -> Never:  # type: ignore[misc]  # it returns, whatever it says
    """Return all the same."""


def no_return() -> NoReturn:  # type: ignore[misc]  # it returns, whatever it says
    """Return all the same."""


@pytest.mark.parametrize(
    "function",
    [
        *CALLABLES,
        pytest.param(unresolved_parameter, id="parameter that cannot be resolved"),
        pytest.param(never, id="Never"),
        pytest.param(no_return, id="NoReturn"),
    ],
)
async def test_a_result_of_none_has_no_reason(
    kapusta: Kapusta, function: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing was returned, so nothing arrives changed: an error in the log would be one for every run."""
    task = kapusta.register_task(function, name="t")

    async with kapusta:
        handle = await task.launch()
        await kapusta.run_until_idle()

        assert await handle.result() is None
        (stored,) = await kapusta.crud.find_tasks(TaskQuery())
    assert stored.reason is None
    assert "task_result_problem" not in [vars(record).get("event") for record in caplog.records]


@dataclass
class Order:
    """A class with a field of a type that only a type checker sees."""

    amount: Decimal


def charge(order: Order) -> None:
    """Take it."""


def misspelt(order: "no ann otation") -> None:  # type: ignore[valid-type] # noqa: F722 - the point
    """Take what is no annotation."""


@pytest.mark.parametrize(("function", "words"), [(charge, "'Decimal' is not defined"), (misspelt, "otation")])
async def test_an_annotation_that_cannot_be_resolved_is_an_error_of_ours(
    kapusta: Kapusta, function: Any, words: str
) -> None:
    """Wherever it stands, in the function or in a class that it takes, and whatever is wrong with it."""
    task = kapusta.register_task(function)

    async with kapusta:
        with pytest.raises(ArgumentError, match=words):
            await task.launch(Order(amount=None))  # type: ignore[arg-type]
