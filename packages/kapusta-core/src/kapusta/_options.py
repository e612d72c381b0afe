"""What may be said of a task and of a launch, checked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Any, Final, TypedDict

import msgspec

from ._backoff import Backoff, as_backoff
from ._clock import ZERO
from ._durations import as_optional_timedelta
from ._enums import OnCrash, TaskExecutionMode
from ._errors import (
    KapustaExecutionModeError,
    KapustaSyncTaskTimeoutError,
    KapustaValueError,
    UnknownOptionError,
)
from ._records import name_problem
from .types import Duration


class _Default(Enum):
    default = "default"


_DEFAULT: Final = _Default.default


class Policy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is stored with a task because only core reads it: how to end it and when to try again."""

    timeout: timedelta | None = None
    max_retry_attempts: int = 0
    backoff: Backoff = Backoff()
    on_crash: OnCrash = OnCrash.retry
    max_crashes: int | None = 3
    overdue_time: timedelta | None = None

    @classmethod
    def read(cls, options: bytes) -> Policy:
        """The policy that was stored; `UNREADABLE` if it cannot be read, so that no row harms a loop."""
        return _read(options)


@lru_cache(maxsize=256)  # many tasks have few policies
def _read(options: bytes) -> Policy:
    try:
        return _policy_decoder.decode(options)
    except (msgspec.DecodeError, TypeError, ValueError, RecursionError):
        return UNREADABLE


_policy_decoder = msgspec.json.Decoder(Policy)
UNREADABLE: Final = Policy(on_crash=OnCrash.hold)
"""What is known of a task whose options this version cannot read: nothing, so it must not run twice."""


class TaskOptions(msgspec.Struct, frozen=True, kw_only=True):
    """All that is decided about a launch before its arguments are known.

    Attributes:
        execution_mode: where the body runs.
        eta_delta: delay before execution; ``None``: at once.
        eta: the moment to execute at, aware; goes before ``eta_delta``.
        policy: what the worker goes by.
        transaction: the caller's, which the launch joins.
    """

    execution_mode: TaskExecutionMode
    policy: Policy
    eta_delta: timedelta | None = None
    eta: datetime | None = None
    transaction: object = None


class CommonOptions(TypedDict, total=False):
    """What may be said of a task, and of a single launch.

    Not given: the Kapusta's default, or what the task was registered with. ``None``: none. Every duration
    takes seconds or a ``timedelta``.

    Attributes:
        eta_delta: delay before execution.
        overdue_time: how long after its launch a task that has not started is overdue.
        overdue_time_delta: another spelling of ``overdue_time``.
        max_retry_attempts: how many failures are followed by another attempt.
        timeout: how long the body may take; 0 is none; mode ``sync`` takes none.
        backoff: how long until the next attempt: a `Backoff`, or a fixed delay.
        on_crash: ``"retry"`` or ``"hold"``, when the worker or the child process ends under the body.
        max_crashes: after so many crashes in a row the task is held.
    """

    eta_delta: Duration | None
    overdue_time: Duration | None
    overdue_time_delta: Duration | None
    max_retry_attempts: int | None
    timeout: Duration | None
    backoff: Backoff | Duration | None
    on_crash: OnCrash | str
    max_crashes: int | None


class RegistrationOptions(CommonOptions, total=False):
    """What may be said of a task.

    Attributes:
        name: what its tasks are stored under; by default ``module.qualname`` of the function.
        aliases: other names whose stored tasks it runs: those that it once had.
    """

    name: str | None
    aliases: Sequence[str]


class LaunchOptions(CommonOptions, total=False):
    """What may be said of a single launch.

    Attributes:
        execution_mode: where the body runs.
        eta: the moment to execute at, aware; goes before ``eta_delta``.
        transaction: an open transaction of yours that the launch joins: the task is there exactly if it commits.
            With `AlchemyCRUD`: an ``AsyncSession``, ``AsyncConnection``, ``Session`` or ``Connection``.
    """

    execution_mode: TaskExecutionMode | str | None
    eta: datetime | None
    transaction: object


_TASK_OPTIONS: Final = ("execution_mode", *RegistrationOptions.__annotations__)
_LAUNCH_OPTIONS: Final = tuple(LaunchOptions.__annotations__)


def make_policy(given: Mapping[str, Any], base: Policy, *, prefix: str = "") -> Policy:
    """*base* with those of the options in *given* that a policy holds, checked.

    Raises:
        KapustaValueError: an option has a value that it cannot have; *prefix* is put before its name.
    """
    fields: dict[str, Any] = {}
    for option, check in _CHECKS.items():
        value = given.get(option, _DEFAULT)
        if value is not _DEFAULT:
            fields[option] = check(prefix + option, value)
    return msgspec.structs.replace(base, **fields) if fields else base


def task_options(task: str, *, is_async: bool, given: Mapping[str, Any], defaults: Policy) -> TaskOptions:
    """The options of a task from what was given at its registration.

    Raises:
        UnknownOptionError: a task has no such option.
        KapustaValueError, KapustaExecutionModeError, KapustaSyncTaskTimeoutError: see each.
    """
    given = _checked_names(given, _TASK_OPTIONS, where=f"Task '{task}'")
    natural = TaskExecutionMode.async_ if is_async else TaskExecutionMode.sync
    mode = _mode(given.get("execution_mode", _DEFAULT), natural)
    if mode is TaskExecutionMode.sync:
        defaults = msgspec.structs.replace(defaults, timeout=None)  # a default applies only where it may
    start = TaskOptions(execution_mode=mode, policy=defaults)
    return _updated(task, start, is_async=is_async, given=given)


def launch_options(task: str, base: TaskOptions, *, is_async: bool, given: Mapping[str, Any]) -> TaskOptions:
    """*base* with the options of one launch.

    Raises:
        UnknownOptionError: a launch has no such option.
        KapustaValueError, KapustaExecutionModeError, KapustaSyncTaskTimeoutError: see each.
    """
    if not isinstance(given, Mapping):
        raise KapustaValueError(
            option="update_params",
            value=given,
            problem="is no mapping",
            remedy='Write {"max_retry_attempts": 1}.',
        )
    given = _checked_names(given, _LAUNCH_OPTIONS, where=f"A launch of task '{task}'")
    mode = _mode(given.get("execution_mode", _DEFAULT), base.execution_mode)
    if mode is TaskExecutionMode.sync and base.execution_mode is not mode:
        base = msgspec.structs.replace(base, policy=msgspec.structs.replace(base.policy, timeout=None))
    return _updated(task, base, is_async=is_async, given=given)


def _checked_names(given: Mapping[str, Any], known: Sequence[str], *, where: str) -> Mapping[str, Any]:
    for option in given:
        if option not in known:
            raise UnknownOptionError(option=option, where=where, known=known)
    if "overdue_time_delta" not in given:
        return given
    if "overdue_time" in given:
        raise KapustaValueError(
            option="overdue_time_delta",
            value=given["overdue_time_delta"],
            problem="is another spelling of overdue_time, which is given too",
            remedy="Give one of them.",
        )
    return {**given, "overdue_time": given["overdue_time_delta"]}


def _updated(task: str, base: TaskOptions, *, is_async: bool, given: Mapping[str, Any]) -> TaskOptions:
    mode = _mode(given.get("execution_mode", _DEFAULT), base.execution_mode)
    eta, eta_delta = base.eta, base.eta_delta
    if given.get("eta_delta", _DEFAULT) is not _DEFAULT:
        eta_delta, eta = as_optional_timedelta("eta_delta", given["eta_delta"]), None
    if given.get("eta", _DEFAULT) is not _DEFAULT:
        eta = _eta(given["eta"])
    options = TaskOptions(
        execution_mode=mode,
        policy=make_policy(given, base.policy),
        eta_delta=eta_delta,
        eta=eta,
        transaction=given.get("transaction", base.transaction),
    )
    _check_mode(task, options, is_async=is_async)
    _check_deadline(options)
    return options


def _check_mode(task: str, options: TaskOptions, *, is_async: bool) -> None:
    mode = options.execution_mode
    if is_async and mode is not TaskExecutionMode.async_:
        raise KapustaExecutionModeError(
            task=task,
            mode=mode,
            problem="it is an `async def` function",
            remedy="Leave execution_mode out, or define it with a plain `def`.",
        )
    if not is_async and mode is TaskExecutionMode.async_:
        raise KapustaExecutionModeError(
            task=task,
            mode=mode,
            problem="it is a plain `def` function",
            remedy="Define it with `async def`, or choose 'sync', 'thread' or 'process'.",
        )
    if mode is TaskExecutionMode.sync and options.policy.timeout is not None:
        raise KapustaSyncTaskTimeoutError(task=task, timeout=options.policy.timeout.total_seconds())


def _check_deadline(options: TaskOptions) -> None:
    delay, overdue_time = options.eta_delta or ZERO, options.policy.overdue_time
    if options.eta is None and overdue_time is not None and delay >= overdue_time:
        raise KapustaValueError(
            option="overdue_time",
            value=overdue_time,
            problem=f"ends before a task with eta_delta={delay!r} could start, so it could never run",
            remedy="Make overdue_time longer than eta_delta; both count from the launch. None is no deadline.",
        )


def _mode(value: Any, otherwise: TaskExecutionMode) -> TaskExecutionMode:
    if value is _DEFAULT or value is None:
        return otherwise
    try:
        return TaskExecutionMode(value)
    except ValueError:
        raise KapustaValueError(
            option="execution_mode",
            value=value,
            problem="is no execution mode",
            remedy=f"Choose one of: {', '.join(TaskExecutionMode)}.",
        ) from None


def _eta(value: Any) -> datetime | None:
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise KapustaValueError(
            option="eta", value=value, problem="is no datetime", remedy="For a delay use eta_delta."
        )
    if value.tzinfo is None or value.utcoffset() is None:
        raise KapustaValueError(
            option="eta",
            value=value,
            problem="is naive: it names no time zone",
            remedy="Give an aware one, such as datetime.now(timezone.utc) + timedelta(hours=3).",
        )
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise KapustaValueError(
            option="eta",
            value=value,
            problem="is out of range in UTC",
            remedy="Give an earlier or later one.",
        ) from None


def as_count(option: str, value: object, *, least: int = 0) -> int:
    """*value*, if it is a whole number and not less than *least*.

    Raises:
        KapustaValueError: it is not.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise KapustaValueError(
            option=option, value=value, problem="is no count", remedy=f"Give a whole number, {least} or more."
        )
    return value


def as_name(option: str, value: object) -> str:
    """*value*, if it is text that every store can keep as a name.

    Raises:
        KapustaValueError: it is not.
    """
    problem = name_problem(value) if isinstance(value, str) else "is no text"
    if problem is not None:
        raise KapustaValueError(
            option=option,
            value=value,
            problem=f"is no name: it {problem}",
            remedy="Give text of 1 to 255 characters.",
        )
    return str(value)


def as_names(option: str, value: object) -> tuple[str, ...]:
    """*value*, if it is a collection of names; none for ``None``.

    Raises:
        KapustaValueError: it is not; a single text, too, is a collection, of letters.
    """
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise KapustaValueError(
            option=option, value=value, problem="is no list of names", remedy='Write ["old_name"].'
        )
    return tuple(as_name(option, name) for name in value)


def _max_retry_attempts(option: str, value: Any) -> int:
    return 0 if value is None else as_count(option, value)


def _max_crashes(option: str, value: Any) -> int | None:
    return None if value is None else as_count(option, value, least=1)


def _timeout(option: str, value: Any) -> timedelta | None:
    return as_optional_timedelta(option, value) or None  # 0 is none, as in 0.1.5


def _on_crash(option: str, value: Any) -> OnCrash:
    try:
        return OnCrash(value)
    except ValueError:
        raise KapustaValueError(
            option=option,
            value=value,
            problem="is no crash policy",
            remedy=f"Choose one of: {', '.join(OnCrash)}.",
        ) from None


_CHECKS: Final = {
    "timeout": _timeout,
    "max_retry_attempts": _max_retry_attempts,
    "backoff": as_backoff,
    "on_crash": _on_crash,
    "max_crashes": _max_crashes,
    "overdue_time": as_optional_timedelta,
}
