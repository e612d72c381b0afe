"""What may be said of a task and of a launch."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import msgspec
import pytest

from kapusta import (
    Backoff,
    KapustaError,
    KapustaExecutionModeError,
    KapustaSyncTaskTimeoutError,
    KapustaValueError,
    OnCrash,
    TaskExecutionMode,
    UnknownOptionError,
)
from kapusta._options import Policy, TaskOptions, launch_options, task_options

SYNC, ASYNC = TaskExecutionMode.sync, TaskExecutionMode.async_
THREAD, PROCESS = TaskExecutionMode.thread, TaskExecutionMode.process
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NOON = datetime(2026, 5, 17, 12, tzinfo=UTC)
DEFAULTS = Policy(timeout=MINUTE, max_retry_attempts=1, overdue_time=HOUR)


def task(*, is_async: bool = False, **given: Any) -> TaskOptions:
    """The options of a task that was registered with these."""
    return task_options("t", is_async=is_async, given=given, defaults=DEFAULTS)


def launch(base: TaskOptions, *, is_async: bool = False, **given: Any) -> TaskOptions:
    """The options of a launch with these."""
    return launch_options("t", base, is_async=is_async, given=given)


@pytest.mark.parametrize(
    ("is_async", "given", "mode"),
    [
        (False, {}, SYNC),
        (True, {}, ASYNC),
        (False, {"execution_mode": None}, SYNC),
        (False, {"execution_mode": "thread"}, THREAD),
        (False, {"execution_mode": PROCESS}, PROCESS),
        (True, {"execution_mode": "async_"}, ASYNC),
    ],
)
def test_the_mode_follows_the_function_unless_it_is_given(
    is_async: bool, given: dict[str, Any], mode: TaskExecutionMode
) -> None:
    """By default ``async_`` for a coroutine function, else ``sync``; an enum or its value."""
    assert task(is_async=is_async, **given).execution_mode is mode


@pytest.mark.parametrize(
    ("given", "field", "value"),
    [
        ({}, "timeout", MINUTE),
        ({"timeout": None}, "timeout", None),
        ({"timeout": 0}, "timeout", None),
        ({"timeout": 0.0}, "timeout", None),
        ({"timeout": timedelta(0)}, "timeout", None),
        ({"timeout": 1.5}, "timeout", timedelta(seconds=1.5)),
        ({}, "max_retry_attempts", 1),
        ({"max_retry_attempts": 0}, "max_retry_attempts", 0),
        ({"max_retry_attempts": None}, "max_retry_attempts", 0),
        ({"max_retry_attempts": 7}, "max_retry_attempts", 7),
        ({}, "overdue_time", HOUR),
        ({"overdue_time": None}, "overdue_time", None),
        ({"overdue_time": 30}, "overdue_time", timedelta(seconds=30)),
        ({"overdue_time_delta": MINUTE}, "overdue_time", MINUTE),
        ({"overdue_time_delta": None}, "overdue_time", None),
        ({}, "backoff", Backoff()),
        (
            {"backoff": None},
            "backoff",
            Backoff(initial=timedelta(0), maximum=timedelta(0), factor=1, jitter=False),
        ),
        ({"backoff": 60}, "backoff", Backoff(initial=MINUTE, maximum=MINUTE, factor=1, jitter=False)),
        ({"backoff": Backoff(factor=3)}, "backoff", Backoff(factor=3)),
        ({}, "on_crash", OnCrash.retry),
        ({"on_crash": "hold"}, "on_crash", OnCrash.hold),
        ({}, "max_crashes", 3),
        ({"max_crashes": None}, "max_crashes", None),
        ({"max_crashes": 1}, "max_crashes", 1),
    ],
)
def test_not_given_is_the_default_and_none_is_none(given: dict[str, Any], field: str, value: Any) -> None:
    """What is not given follows the Kapusta; ``None`` switches it off; 0 is no timeout, as it always was."""
    registered = task(execution_mode="thread", **given)
    launched = launch(task(execution_mode="thread"), **given)

    assert getattr(registered.policy, field) == value
    assert getattr(launched.policy, field) == value


def test_a_default_timeout_does_not_apply_where_none_is_allowed() -> None:
    """``Kapusta(default_timeout=60)`` and ``@kapusta.task()`` on a plain function go together."""
    assert task().policy.timeout is None
    assert task(timeout=0).policy.timeout is None


@pytest.mark.parametrize(
    ("registered", "launched", "eta_delta", "eta"),
    [
        ({}, {}, None, None),
        ({"eta_delta": 60}, {}, MINUTE, None),
        ({"eta_delta": 60}, {"eta_delta": None}, None, None),
        ({"eta_delta": 60}, {"eta_delta": 0}, timedelta(0), None),
        ({"eta_delta": 60}, {"eta": NOON}, MINUTE, NOON),
        ({"eta_delta": 60}, {"eta": None}, MINUTE, None),
        ({}, {"eta": NOON.astimezone(timezone(timedelta(hours=5)))}, None, NOON),
    ],
)
def test_when_a_launch_is_due(
    registered: dict[str, Any], launched: dict[str, Any], eta_delta: timedelta | None, eta: datetime | None
) -> None:
    """A moment goes before a delay; ``eta_delta=None`` means at once, whatever the task registered."""
    options = launch(task(**registered), **launched)

    assert (options.eta_delta, options.eta) == (eta_delta, eta)


def test_a_later_delay_replaces_an_earlier_moment() -> None:
    """Of two ``with_options`` in a row the second counts."""
    at_noon = launch(task(), eta=NOON)

    assert launch(at_noon, eta_delta=5).eta is None
    assert launch(at_noon, max_retry_attempts=5).eta == NOON


@pytest.mark.parametrize(
    ("registered", "mode", "timeout"),
    [
        ({"execution_mode": "thread"}, "process", MINUTE),
        ({"execution_mode": "thread", "timeout": 5}, "process", timedelta(seconds=5)),
        ({"execution_mode": "thread", "timeout": 5}, "sync", None),
        ({"execution_mode": "process"}, "sync", None),
        ({}, "thread", None),
    ],
)
def test_the_mode_may_change_for_one_launch(
    registered: dict[str, Any], mode: str, timeout: timedelta | None
) -> None:
    """To ``sync`` without complaint: a timeout that it was registered with is left behind, for this launch."""
    base = task(**registered)

    options = launch(base, execution_mode=mode)

    assert (options.execution_mode, options.policy.timeout) == (mode, timeout)
    assert base == task(**registered)


@pytest.mark.parametrize("mode", TaskExecutionMode)
@pytest.mark.parametrize("is_async", [True, False])
def test_a_function_runs_only_in_the_modes_that_fit_it(mode: TaskExecutionMode, *, is_async: bool) -> None:
    """Every combination: ``async_`` for ``async def`` and nothing else, at registration and per launch."""
    fits = is_async == (mode is ASYNC)

    attempts: list[Callable[[], TaskOptions]] = [
        lambda: task(is_async=is_async, execution_mode=mode),
        lambda: launch(task(is_async=is_async), is_async=is_async, execution_mode=mode),
    ]
    for attempt in attempts:
        if fits:
            assert attempt().execution_mode is mode
        else:
            with pytest.raises(KapustaExecutionModeError, match=f"cannot run in mode '{mode}'"):
                attempt()


@pytest.mark.parametrize(
    ("given", "error", "words"),
    [
        ({"timeout": -1}, KapustaValueError, "timeout=-1 is negative"),
        ({"timeout": 5, "execution_mode": "sync"}, KapustaSyncTaskTimeoutError, "timeout=5.0 cannot stop it"),
        ({"max_retry_attempts": -1}, KapustaValueError, "is no count"),
        ({"max_retry_attempts": 1.5}, KapustaValueError, "is no count"),
        ({"max_retry_attempts": True}, KapustaValueError, "is no count"),
        ({"max_crashes": 0}, KapustaValueError, "Give a whole number, 1 or more"),
        ({"on_crash": "explode"}, KapustaValueError, "Choose one of: retry, hold"),
        ({"on_crash": None}, KapustaValueError, "is no crash policy"),
        ({"backoff": "soon"}, KapustaValueError, "is no duration"),
        ({"execution_mode": "fork"}, KapustaValueError, "Choose one of: sync, async_, thread, process"),
        ({"overdue_time": 5, "overdue_time_delta": 5}, KapustaValueError, "Give one of them"),
        ({"eta_delta": 3600}, KapustaValueError, "so it could never run"),
        ({"eta_delta": 10, "overdue_time": 10}, KapustaValueError, "so it could never run"),
        ({"overdue_time": 0}, KapustaValueError, "so it could never run"),
        ({"retries": 5}, UnknownOptionError, "has no option 'retries'"),
    ],
)
def test_a_wrong_option_is_refused_at_registration_and_at_launch_alike(
    given: dict[str, Any], error: type[KapustaError], words: str
) -> None:
    """One code path checks both, so what one refuses the other does not let through."""
    with pytest.raises(error, match=words):
        task(**given)
    with pytest.raises(error, match=words):
        launch(task(), **given)


@pytest.mark.parametrize(
    ("eta", "words"),
    [
        (datetime(2026, 5, 17, 12), "is naive"),  # noqa: DTZ001 - that is the point
        (60, "is no datetime"),
        ("2026-05-17", "is no datetime"),
        (datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))), "is out of range in UTC"),
    ],
)
def test_an_eta_is_an_aware_moment(eta: Any, words: str) -> None:
    """A moment without a zone would mean another one on every machine."""
    with pytest.raises(KapustaValueError, match=words):
        launch(task(), eta=eta)


def test_a_task_has_no_eta_and_a_launch_no_name() -> None:
    """What cannot be said here is refused with the list of what can."""
    with pytest.raises(UnknownOptionError, match=r"It takes: execution_mode, .*aliases") as at_registration:
        task(eta=NOON)
    with pytest.raises(UnknownOptionError, match=r"It takes: .*eta") as at_launch:
        launch(task(), name="n")

    assert (at_registration.value.option, at_launch.value.option) == ("eta", "name")
    assert "name" not in at_launch.value.known


def test_a_policy_is_read_as_it_was_written() -> None:
    """What is stored with a task is what its worker goes by, defaults left out."""
    policy = task(execution_mode="thread", timeout=1.5, backoff=Backoff(factor=3), on_crash="hold").policy

    assert Policy.read(msgspec.json.encode(policy)) == policy
    assert msgspec.json.encode(Policy()) == b"{}"
