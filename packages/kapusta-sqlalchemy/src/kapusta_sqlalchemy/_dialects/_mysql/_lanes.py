"""Lanes: queue, mode, name and rank of tasks that wait, and what is at the head of each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from kapusta.backend import ClaimRequest

from ._session import Session, Statement
from ._sql import Sql, now_is, storable_only

# With `status` among the columns the server hops in the index from one lane to the next, however many tasks
# wait in each; without it, it would read them all.
_LANES: Final = """
SELECT status, queue, mode, name, `rank` FROM {task} FORCE INDEX ({lanes}) WHERE status = 'pending'
GROUP BY status, queue, mode, name, `rank`"""

IN_LANE: Final = """
FROM {task} FORCE INDEX ({lanes})
WHERE status = 'pending' AND queue = %s AND mode = %s AND name = %s AND `rank` = %s"""
DUE: Final = "AND eta <= @kapusta_now AND (deadline IS NULL OR deadline > @kapusta_now)"

_HEAD: Final = f"(SELECT %s, eta {IN_LANE} {DUE} LIMIT 1)"
_NEXT: Final = f"""
(SELECT %s, eta {IN_LANE} AND eta > @kapusta_now AND (deadline IS NULL OR deadline > eta) ORDER BY eta LIMIT 1)"""
_RANKS: Final = f"(SELECT %s, eta, id {IN_LANE} {DUE} ORDER BY eta, id LIMIT %s)"


class Lane(NamedTuple):
    """Tasks that differ in nothing but eta and id as far as a claim is concerned."""

    queue: bytes
    mode: str
    name: bytes
    rank: int


@dataclass(frozen=True)
class Look:
    """What a claim could take.

    Attributes:
        now: the store's, in microseconds.
        due: the lanes in which something is due.
        next_eta: when the next task comes due that is not due yet.
    """

    now: int
    due: Sequence[Lane]
    next_eta: int | None


class Looker:
    """Looks at the lanes that a request serves, without a lock."""

    def __init__(self, sql: Sql) -> None:
        self._sql = sql
        self._lately: Iterable[Lane] = ()  # found by the last look, and mostly all there is

    async def look(self, session: Session, offset: int, request: ClaimRequest) -> Look:
        """One question if no lane is new since the last, else one more."""
        sql, serves = self._sql, _Served(request)
        lanes = [lane for lane in self._lately if serves(lane)]
        while True:
            _, [(now,)], found, *heads = await session.ask(
                now_is(offset),
                ("SELECT @kapusta_now", ()),
                (sql.fixed(_LANES), ()),
                *self._heads(lanes),
            )
            served = [lane for row in found if serves(lane := Lane(*row[1:]))]
            if set(served) <= set(lanes):
                self._lately = served
                etas = [(lanes[place], eta) for rows in heads for place, eta in rows]
                return Look(
                    now=now,
                    due=[lane for lane, eta in etas if eta <= now],
                    next_eta=min((eta for _, eta in etas if eta > now), default=None),
                )
            lanes = served

    def _heads(self, lanes: Sequence[Lane]) -> list[Statement]:
        if not lanes:
            return []
        head, following = self._sql.fixed(_HEAD), self._sql.fixed(_NEXT)
        values = [value for place, lane in enumerate(lanes) for value in (place, *lane, place, *lane)]
        return [("\nUNION ALL ".join([head, following] * len(lanes)), values)]

    async def shares(
        self, session: Session, offset: int, lanes: Sequence[Lane], slots: Mapping[str, int]
    ) -> dict[Lane, int]:
        """How many tasks to take of each lane, so that each mode gets the first of what is due."""
        modes = [lane.mode for lane in lanes]
        if len(set(modes)) == len(modes):
            return {lane: slots[lane.mode] for lane in lanes}
        values = [value for place, lane in enumerate(lanes) for value in (place, *lane, slots[lane.mode])]
        _, rows = await session.ask(
            now_is(offset), ("\nUNION ALL ".join([self._sql.fixed(_RANKS)] * len(lanes)), values)
        )
        left, shares = dict(slots), dict.fromkeys(lanes, 0)
        for lane in [lanes[place] for *_, place in sorted(_order(lanes, row) for row in rows)]:
            if left[lane.mode]:
                left[lane.mode] -= 1
                shares[lane] += 1
        return {lane: share for lane, share in shares.items() if share}


def _order(lanes: Sequence[Lane], row: Sequence[int]) -> tuple[int, int, int, int]:
    place, eta, id = row
    return lanes[place].rank, eta, id, place


class _Served:
    """Whether a request serves a lane."""

    def __init__(self, request: ClaimRequest) -> None:
        self._modes = {mode.value for mode, count in request.slots.items() if count > 0}
        self._names = set(storable_only(request.names))
        self._queues = None if request.queues is None else set(storable_only(request.queues))

    def __call__(self, lane: Lane) -> bool:
        return (
            lane.mode in self._modes
            and lane.name in self._names
            and (self._queues is None or lane.queue in self._queues)
        )
