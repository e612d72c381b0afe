"""How long until the next attempt."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kapusta import Backoff, Kapusta, KapustaValueError
from kapusta._backoff import as_backoff
from kapusta._options import Policy
from kapusta_memory import MemoryCRUD

FIXED = Backoff(initial=2, maximum=60, factor=3, jitter=False)  # type: ignore[arg-type]  # seconds are welcome


@pytest.mark.parametrize(
    ("backoff", "failures", "seconds"),
    [
        (FIXED, 1, 2),
        (FIXED, 2, 6),
        (FIXED, 3, 18),
        (FIXED, 4, 54),
        (FIXED, 5, 60),
        (FIXED, 10_000, 60),
        (FIXED, 10**9, 60),
        (FIXED, 0, 2),
        (FIXED, -5, 2),
        (Backoff(jitter=False), 1, 1),
        (Backoff(jitter=False), 9, 256),
        (Backoff(jitter=False), 10, 300),
        (Backoff(initial=timedelta(0), jitter=False), 10**9, 0),
        (Backoff(initial=timedelta(hours=1), maximum=timedelta(minutes=1), jitter=False), 1, 60),
        (Backoff(initial=timedelta(seconds=7), factor=1.0, jitter=False), 10**9, 7),
    ],
)
def test_the_ceiling_grows_to_its_cap_and_stays_there(
    backoff: Backoff, failures: int, seconds: float
) -> None:
    """However often a task has failed, its next attempt is neither lost to an overflow nor later than said."""
    assert backoff.delay(failures, 0.5) == timedelta(seconds=seconds)


@given(failures=st.integers(-10, 10**12), chance=st.floats(0, 1))
def test_with_jitter_the_delay_lies_between_zero_and_the_ceiling(failures: int, chance: float) -> None:
    """Full jitter: tasks that failed together are spread over the whole of the time, and never beyond it."""
    drawn, ceiling = Backoff(), Backoff(jitter=False).delay(failures, 0)

    delay = drawn.delay(failures, chance)

    assert timedelta(0) <= delay <= ceiling
    assert abs(delay - ceiling * chance) <= timedelta(microseconds=1)


@pytest.mark.parametrize(
    ("facts", "option", "problem"),
    [
        ({"initial": -1}, "Backoff(initial)", "is negative"),
        ({"initial": timedelta(seconds=-1)}, "Backoff(initial)", "is negative"),
        ({"initial": float("nan")}, "Backoff(initial)", "is not a number"),
        ({"maximum": float("inf")}, "Backoff(maximum)", "is infinite"),
        ({"maximum": 1e300}, "Backoff(maximum)", "is too long"),
        ({"maximum": "5"}, "Backoff(maximum)", "is no duration"),
        ({"factor": 0.5}, "Backoff(factor)", "is not a number of 1 or more"),
        ({"factor": float("nan")}, "Backoff(factor)", "is not a number of 1 or more"),
        ({"factor": float("inf")}, "Backoff(factor)", "is not a number of 1 or more"),
    ],
)
def test_a_backoff_of_nonsense_is_refused_at_birth(facts: dict[str, Any], option: str, problem: str) -> None:
    """A delay that makes no sense is found where it is written, not at the first failure in production."""
    with pytest.raises(KapustaValueError) as caught:
        Backoff(**facts)

    assert (caught.value.option, caught.value.problem) == (option, problem)


@pytest.mark.parametrize(
    ("value", "seconds"), [(None, 0), (0, 0), (5, 5), (0.5, 0.5), (timedelta(minutes=2), 120)]
)
def test_a_plain_duration_is_kept_to_exactly(value: Any, seconds: float) -> None:
    """``backoff=5`` means five seconds after every failure, with no jitter; ``None`` means at once."""
    backoff = as_backoff("backoff", value)

    assert {backoff.delay(failures, 0.1) for failures in (1, 2, 50)} == {timedelta(seconds=seconds)}


class Daily(Backoff, frozen=True):
    """A backoff with a formula of its own, which a stored task cannot hold."""

    def delay(self, failures: int, chance: float) -> timedelta:
        """Return a day, whatever happened."""
        return timedelta(days=1)


class Slow(Backoff, frozen=True):
    """A backoff with other defaults: all of it is in its fields."""

    initial: timedelta = timedelta(minutes=1)


async def send() -> None:
    """A task, for its options."""


def given_to_kapusta(backoff: Backoff) -> object:
    """Give it as the default of a Kapusta."""
    return Kapusta(MemoryCRUD(), default_backoff=backoff)


def given_to_task(backoff: Backoff) -> object:
    """Give it at a registration."""
    return Kapusta(MemoryCRUD()).register_task(send, backoff=backoff)


def given_to_options(backoff: Backoff) -> object:
    """Give it to with_options()."""
    return Kapusta(MemoryCRUD()).register_task(send).with_options(backoff=backoff)


async def given_to_launch(backoff: Backoff) -> object:
    """Give it to one launch."""
    async with Kapusta(MemoryCRUD()) as kapusta:
        return await kapusta.register_task(send).launch(update_params={"backoff": backoff})


@pytest.mark.parametrize("give", [given_to_kapusta, given_to_task, given_to_options, given_to_launch])
async def test_a_backoff_with_its_own_delay_is_refused_wherever_it_is_given(
    give: Callable[[Backoff], object],
) -> None:
    """A worker reads the stored fields only, so the user's formula would be ignored without a word."""
    with pytest.raises(KapustaValueError, match=r"overrides delay\(\).*initial, maximum, factor"):
        await settled(give(Daily()))

    await settled(give(Slow()))


class Renamed(Backoff, frozen=True, rename="upper", tag="renamed"):
    """A backoff with other defaults, whose fields have other names as JSON."""

    initial: timedelta = timedelta(hours=1)
    jitter: bool = False
    note: str = "for the provider of letters"


def test_a_subclass_is_stored_by_its_fields() -> None:
    """A worker reads the fields of a `Backoff`: under other names, it would take the defaults without a word."""
    stored = msgspec.json.encode(Policy(backoff=as_backoff("backoff", Renamed(factor=3))))

    assert Policy.read(stored).backoff == Backoff(initial=3600, factor=3, jitter=False)  # type: ignore[arg-type]


async def settled(made: object) -> None:
    """Await *made* where it is a coroutine."""
    if inspect.isawaitable(made):
        await made
