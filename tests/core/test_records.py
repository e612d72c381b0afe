"""Records refuse nonsense at birth."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from kapusta import Kapusta
from kapusta.backend import (
    MAX_ID,
    MAX_PRIORITY,
    Change,
    ClaimRequest,
    Guard,
    NewTask,
    RenewRequest,
    TaskQuery,
    TaskStatus,
    UniqueKey,
    UniqueUntil,
)


def new(**fields: object) -> NewTask:
    """A task that is sound but for *fields*."""
    return NewTask(**{"id": 1, "token": "token", "name": "work", "payload": b"{}"} | fields)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: new(id=0), "id=0"),
        (lambda: new(id=MAX_ID + 1), "is not between 1 and"),
        (lambda: new(priority=MAX_PRIORITY + 1), "priority=101"),
        (lambda: new(eta=datetime(2030, 1, 1)), "naive"),  # noqa: DTZ001 - the naive one is the case
        (lambda: new(delay=timedelta(seconds=-1)), "negative"),
        (lambda: new(name=""), "is empty"),
        (lambda: new(name="n" * 256), "longer than 255"),
        (lambda: new(name="a\0b"), "holds NUL"),
        (lambda: new(name="half \udfff"), "half a surrogate pair"),
        (lambda: new(queue="q\0"), "holds NUL"),
        (lambda: new(token="\ud800"), "half a surrogate pair"),
        (lambda: UniqueKey(key="k\0"), "holds NUL"),
        (lambda: UniqueKey(key="k", until=UniqueUntil.period), "until=period"),
        (lambda: UniqueKey(key="k", period=timedelta(1)), "until=period"),
        (lambda: Change(id=1, run=1, guard=Guard.holder), "guard=holder"),
        (lambda: Change(id=1, run=1, guard=Guard.resting, worker="w"), "guard=holder"),
        (lambda: Change(id=1, run=1, guard=Guard.resting, status=TaskStatus.started), "only a claim"),
        (lambda: TaskQuery(guards=frozenset({Guard.holder})), "holder"),
        (lambda: TaskQuery(finished_before=datetime(2030, 1, 1)), "naive"),  # noqa: DTZ001 - likewise
        (
            lambda: TaskQuery(statuses={"done"}),
            "holds 'done', which is no status. Choose of: pending, started, ",
        ),  # type: ignore[arg-type]  # that is the case
        (
            lambda: TaskQuery(guards=["idle"]),
            "holds 'idle', which is no guard. Choose of: expired, overdue, ",
        ),  # type: ignore[arg-type]  # likewise
        (lambda: TaskQuery(guards=["holder"]), "cannot ask for holder"),  # type: ignore[arg-type]  # likewise
        (lambda: TaskQuery(ids={"7"}), "holds '7', which is no id. Give whole numbers"),  # type: ignore[arg-type]  # likewise
        (lambda: TaskQuery(ids={True}), "holds True, which is no id"),  # type: ignore[arg-type]  # likewise
        (lambda: TaskQuery(names=[7]), "holds 7, which is no name. Give text"),  # type: ignore[arg-type]  # likewise
        (lambda: TaskQuery(queues={b"default"}), "holds b'default', which is no queue. Give text"),  # type: ignore[arg-type]  # likewise
        (
            lambda: TaskQuery(names="work"),
            r"\(names='work'\) is no set. Give one, also where it holds one thing only",
        ),  # type: ignore[arg-type]  # likewise
        (lambda: TaskQuery(statuses=TaskStatus.held), "is no set"),  # type: ignore[arg-type]  # likewise
        (lambda: TaskQuery(ids=7), r"\(ids=7\) is no set"),  # type: ignore[arg-type]  # likewise
        (lambda: new(overdue_after=timedelta(-1)), r"\(overdue_after=-1 day, 0:00:00\) is negative"),
        (
            lambda: UniqueKey(key="k", until=UniqueUntil.period, period=timedelta(-1)),
            r"\(period=-1 day, 0:00:00\) is negative",
        ),
        (
            lambda: ClaimRequest(worker="a", lease=timedelta(0), slots={}, names=frozenset()),
            "not more than zero",
        ),
        (
            lambda: ClaimRequest(worker="a", lease=timedelta(-1), slots={}, names=frozenset()),
            "not more than zero",
        ),
        (lambda: RenewRequest(worker="a", lease=timedelta(0), renewals=[]), "not more than zero"),
        (
            lambda: Change(id=1, run=1, guard=Guard.resting, delay=timedelta(-1)),
            r"\(delay=-1 day, 0:00:00, overdue_after=None\) has a negative duration",
        ),
        (
            lambda: Change(id=1, run=1, guard=Guard.resting, overdue_after=timedelta(-1)),
            "has a negative duration",
        ),
        (lambda: TaskQuery(limit=-1), r"\(limit=-1\) is no count. Give a whole number, 0 or more"),
        (lambda: TaskQuery(limit="5"), r"\(limit='5'\) is no count"),  # type: ignore[arg-type]  # likewise
        (lambda: TaskQuery(after_id=-1), r"\(after_id=-1\) is no count"),
    ],
)
def test_nonsense_is_refused(make: Callable[[], object], words: str) -> None:
    """A record that says what cannot be raises, and names the field."""
    with pytest.raises(ValueError, match=words):
        make()


@pytest.mark.parametrize("name", ["n", "n" * 255, "задача", "a b\n\t"])
def test_what_a_name_may_be(name: str) -> None:
    """Any text of 1 to 255 characters that a database can keep."""
    assert new(name=name).name == name


def test_the_text_of_a_change_can_be_kept_anywhere() -> None:
    """NUL and half a surrogate pair become their escapes, and all else stays."""
    change = Change(
        id=1, run=1, guard=Guard.resting, status=TaskStatus.held, error="é\0\ud800\n", reason="fine"
    )

    assert (change.error, change.reason) == ("é\\x00\\ud800\n", "fine")


@pytest.mark.parametrize("kind", [frozenset, set, list, tuple, iter])
def test_whatever_a_query_is_given_it_holds_frozen_sets_of_the_types_it_names(
    kind: Callable[[list[object]], Any],
) -> None:
    """So that a plain word, a list or a handle finds in each store what it finds in the others."""
    handle = Kapusta("memory://").handle(7)

    query = TaskQuery(
        ids=kind([handle, 8]),
        statuses=kind(["pending", TaskStatus.held]),
        names=kind(["work"]),
        queues=kind(["default"]),
        guards=kind(["expired"]),
    )

    assert query == TaskQuery(
        ids=frozenset({7, 8}),
        statuses=frozenset({TaskStatus.pending, TaskStatus.held}),
        names=frozenset({"work"}),
        queues=frozenset({"default"}),
        guards=frozenset({Guard.expired}),
    )
    sets = (query.ids, query.statuses, query.names, query.queues, query.guards)
    assert {type(each) for each in sets} == {frozenset}
    assert {type(each) for some in sets for each in some or ()} == {int, TaskStatus, str, Guard}
