"""Ids that rise, from time and chance."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest

from kapusta._clock import Clock
from kapusta._ids import Ids, new_token
from kapusta.testing import ManualClock

EPOCH: Final = datetime(2024, 1, 1, tzinfo=UTC)


class SetBack(ManualClock):
    """A clock that somebody sets back."""

    back = timedelta(0)

    def now(self) -> datetime:
        """Earlier than it should be."""
        return super().now() - self.back


@pytest.mark.parametrize(
    "start",
    [
        EPOCH,
        datetime(2026, 5, 17, tzinfo=UTC),
        datetime(2190, 1, 1, tzinfo=UTC),
        datetime(1999, 1, 1, tzinfo=UTC),
    ],
)
def test_an_id_has_at_most_63_bits(start: datetime) -> None:
    """Every database's signed 64-bit column holds it, whatever the clock says."""
    ids = Ids(ManualClock(start).now)

    drawn = [ids.draw() for _ in range(100)]

    assert all(0 < each < 1 << 63 for each in drawn)
    assert len(set(drawn)) == 100


def test_ids_rise_within_a_moment_and_with_time() -> None:
    """Tasks that are due together start in the order in which they were launched."""
    clock = ManualClock()
    ids = Ids(clock.now)

    drawn = []
    for _ in range(50):
        drawn += [ids.draw(), ids.draw()]
        clock.shift(milliseconds=1)

    assert drawn == sorted(set(drawn))


def test_many_ids_are_one_run_between_their_neighbours() -> None:
    """The tasks of one `launch_many` start in the order given, after earlier and before later launches."""
    ids = Ids(ManualClock().now)

    before, run, after = ids.draw(), ids.draw_many(1000), ids.draw()

    assert list(run) == list(range(run[0], run[0] + 1000))
    assert before < run[0]
    assert run[-1] < after


def test_a_run_of_ids_ends_at_the_greatest_one() -> None:
    """An id past the greatest one would be refused by every store, and the launch would fail."""
    ids = Ids(lambda: EPOCH - timedelta(milliseconds=1))  # whose time bits are all ones

    drawn = [ids.draw_many(1 << 22)[-1] for _ in range(3)]

    assert max(drawn) < 1 << 63


def test_ids_rise_even_when_the_clock_goes_back() -> None:
    """A clock set back by an hour does not bring ids that are there already."""
    clock = SetBack()
    ids = Ids(clock.now)
    before = [ids.draw() for _ in range(3)]

    clock.back = timedelta(hours=1)
    after = [ids.draw() for _ in range(3)]

    assert before + after == sorted(set(before + after))


def test_threads_never_draw_the_same_id() -> None:
    """Ids may be drawn from any thread."""
    ids = Ids(ManualClock().now)
    drawn: list[list[int]] = [[] for _ in range(4)]
    gate = threading.Barrier(4)

    def draw(mine: list[int]) -> None:
        gate.wait()
        mine += [ids.draw() for _ in range(2000)]

    threads = [threading.Thread(target=draw, args=(mine,)) for mine in drawn]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert all(mine == sorted(mine) for mine in drawn)
    assert len(set().union(*drawn)) == 8000


def test_two_processes_seldom_draw_the_same_id() -> None:
    """21 bits of chance tell ids of one millisecond apart; the token settles the rest."""
    clock: Clock = ManualClock()

    drawn = {Ids(clock.now).draw() for _ in range(200)}

    assert len(drawn) >= 198
    assert len({each >> 21 for each in drawn}) == 1


def test_tokens_differ() -> None:
    """A token tells one launch, or one worker, from all others."""
    assert len({new_token() for _ in range(1000)}) == 1000
