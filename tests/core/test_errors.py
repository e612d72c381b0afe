"""Every error: its facts are attributes, and its sentence says what, which and what next."""

from __future__ import annotations

import pickle
from typing import Any

import pytest

import kapusta
from kapusta import KapustaError, TaskStatus, _errors

ABSTRACT = {"KapustaError", "StoreError"}

TABLE: dict[str, tuple[dict[str, Any], list[str], type[BaseException]]] = {
    # class: its facts, what the message says (which thing, and what next), and what else it is
    "KapustaValueError": (
        {"option": "timeout", "value": -1, "problem": "is negative", "remedy": "Give zero or more."},
        ["timeout=-1 is negative.", "Give zero or more."],
        ValueError,
    ),
    "KapustaExecutionModeError": (
        {"task": "t", "mode": "async_", "problem": "it is a plain function", "remedy": "Choose 'thread'."},
        ["Task 't' cannot run in mode 'async_': it is a plain function.", "Choose 'thread'."],
        ValueError,
    ),
    "NotImportableError": (
        {"task": "t", "mode": "process", "problem": "it is a lambda", "remedy": "Define it with `def`."},
        ["Task 't' cannot run in mode 'process': it is a lambda.", "Define it with `def`."],
        kapusta.KapustaExecutionModeError,
    ),
    "KapustaSyncTaskTimeoutError": (
        {"task": "t", "timeout": 5.0},
        ["Task 't' runs in mode 'sync'", "timeout=5.0", "Leave the timeout out, or choose"],
        ValueError,
    ),
    "UnknownOptionError": (
        {"option": "retries", "where": "A launch of task 't'", "known": ("timeout", "eta")},
        ["A launch of task 't' has no option 'retries'.", "It takes: timeout, eta."],
        TypeError,
    ),
    "DuplicateTaskError": (
        {"name": "t", "first": "a.f (task 't')", "second": "b.f (task 't')"},
        ["by the name 't': a.f (task 't') and b.f (task 't').", "Give one of them another with name="],
        ValueError,
    ),
    "TaskSignatureError": (
        {"task": "t", "problem": "has no signature", "remedy": "Wrap it in a `def`."},
        ["Task 't' has no signature.", "Wrap it"],
        TypeError,
    ),
    "ArgumentError": (
        {"task": "t", "parameter": "order", "problem": "it is a socket", "remedy": "Pass an id."},
        ["Task 't' was not launched: argument 'order': it is a socket.", "Pass an id."],
        TypeError,
    ),
    "PayloadTooLargeError": (
        {"task": "t", "size": 2048, "limit": 1024},
        [
            "Task 't' was not launched",
            "2048 bytes, the limit is 1024",
            "or raise Kapusta(max_payload_bytes=...)",
        ],
        ValueError,
    ),
    "UnreadablePayloadError": (
        {"task": "t", "problem": "there is no parameter 'x'"},
        ["stored arguments of task 't'", "there is no parameter 'x'", "Is another version"],
        KapustaError,
    ),
    "ResultEncodingError": (
        {"task": "t", "problem": "it is a socket"},
        ["body of task 't' ran to its end", "it is a socket", "Return something smaller or simpler"],
        KapustaError,
    ),
    "ResultUnreadableError": (
        {"task": "t", "problem": "Expected `int`, got `str`"},
        ["A run of task 't' succeeded", "Expected `int`, got `str`", "Mend the function's return annotation"],
        LookupError,
    ),
    "TaskNotFoundError": (
        {"task_id": 7},
        ["No task has the id 7", "Was it deleted", "in a transaction that has not committed yet?"],
        LookupError,
    ),
    "TaskFailedError": (
        {"task_id": 7, "name": "t", "status": TaskStatus.held, "error": None, "reason": "its child died"},
        ["Task 7 ('t') ended as 'held': its child died"],
        KapustaError,
    ),
    "TaskNotFinishedError": (
        {"task_id": 7, "status": TaskStatus.started, "timeout": 1.5},
        ["Task 7 is still 'started' after 1.5 s.", "ask again, or wait longer"],
        TimeoutError,
    ),
    "ResultNotStoredError": (
        {"task_id": 7, "reason": "it is a socket. Return something simpler."},
        ["Task 7 succeeded, but has no result: it is a socket.", "Return something simpler."],
        LookupError,
    ),
    "StoreNotStartedError": (
        {"backend": "MemoryCRUD"},
        ["The store of MemoryCRUD is not started.", "Call `await kapusta.startup()` first"],
        RuntimeError,
    ),
    "StoreUnavailableError": (
        {"operation": "claim_tasks", "problem": "connection refused"},
        ["did not carry out claim_tasks: connection refused.", "Is it up and reachable?"],
        ConnectionError,
    ),
    "LaunchUnknownError": (
        {"task_ids": (7, 8), "problem": "no answer"},
        ["the launch of 7, 8", "is unknown: no answer.", "`await error.launch_again()` repeats it"],
        kapusta.StoreUnavailableError,
    ),
    "StoreUrlError": (
        {"url": "sqlite://", "problem": "is in memory", "remedy": "Name a file."},
        ["The store URL 'sqlite://' is in memory.", "Name a file."],
        ValueError,
    ),
    "MissingDriverError": (
        {"url": "mysql://h", "driver": "aiomysql", "install": "kapusta-sqlalchemy[mysql]"},
        [
            "The store URL 'mysql://h' needs 'aiomysql'.",
            'Install it: pip install "kapusta-sqlalchemy[mysql]"',
        ],
        ImportError,
    ),
    "StoreTooNewError": (
        {"store": "sqlite:///t.db", "found": "9", "needs": 4, "reads": 1},
        [
            "The store sqlite:///t.db",
            "its schema is '9'",
            "version 4, this one is 1",
            "Upgrade the packages here",
        ],
        _errors.StoreError,
    ),
    "StoreNotMigratedError": (
        {"store": "sqlite:///t.db", "found": None, "needs": "1", "command": "python -m x upgrade"},
        ["The store sqlite:///t.db has schema 'none' and needs '1'.", "Run: python -m x upgrade"],
        _errors.StoreError,
    ),
    "TransactionError": (
        {"transaction": "<AsyncEngine>", "problem": "it is an engine", "remedy": "Give a session."},
        ["The transaction <AsyncEngine> cannot be joined: it is an engine.", "Give a session."],
        ValueError,
    ),
    "ClaimLostError": (
        {"task_id": 7},
        ["Task 7 is not this run's any more", "its outcome was not written", "Roll the transaction back"],
        _errors.StoreError,
    ),
    "AlreadyFinishedError": (
        {"task_id": 7},
        ["Task 7 was finished by this run already", "Call finish_within() once in a run"],
        RuntimeError,
    ),
    "OutsideOfTaskError": (
        {"action": "finish_within()"},
        [
            "finish_within() was called outside of a running task",
            "Await it in the body of an `async def` task",
        ],
        RuntimeError,
    ),
    "BackendNotFoundError": (
        {"wanted": "redis", "known": ("memory://",), "broken": ("acme (boom)",)},
        ["provides 'redis'. Installed: memory://.", "Broken plugins: acme (boom).", "or check the spelling"],
        LookupError,
    ),
    "MissingPluginError": (
        {"wanted": "sqlite", "distribution": "kapusta-sqlalchemy", "broken": ("acme (boom)",)},
        [
            "'sqlite' comes with 'kapusta-sqlalchemy'",
            "acme (boom)",
            "Mend it: pip install --force-reinstall kapusta-sqlalchemy",
        ],
        ImportError,
    ),
    "DuplicateBackendError": (
        {"wanted": "memory", "distributions": ("acme-kapusta", "kapusta-memory")},
        [
            "Backend 'memory' is provided by more than one distribution: acme-kapusta, kapusta-memory.",
            "Uninstall all",
        ],
        KapustaError,
    ),
    "BackendTooNewError": (
        {"backend": "acme_kapusta.AcmeCRUD", "needs": 2, "speaks": 1},
        [
            "acme_kapusta.AcmeCRUD was written for version 2",
            "this kapusta-core speaks version 1",
            "pip install --upgrade kapusta-core",
        ],
        KapustaError,
    ),
    "BrokenPluginError": (
        {"distribution": "acme", "problem": "it raised"},
        ["The plugin of distribution 'acme' is broken: it raised.", "Upgrade or uninstall it."],
        ImportError,
    ),
    "MissingMainGuardError": (
        {"action": "startup()", "module": "shop"},
        ["startup() was called while a child process imported 'shop'", 'under `if __name__ == "__main__":`'],
        RuntimeError,
    ),
    "TargetError": (
        {"target": "shop", "problem": "is not of the form package.module:kapusta"},
        ["'shop' is not of the form", "Name the module and, in it, the Kapusta"],
        ValueError,
    ),
    "StillStartedError": (
        {},
        ["This Kapusta is started", "Call `await kapusta.shutdown()` first"],
        RuntimeError,
    ),
    "StillBusyError": (
        {"busy": ("task 7 't'",), "seconds": 5.0},
        ["After 5 s of real time these are still busy: task 7 't'.", "`await clock.sleep(...)`"],
        TimeoutError,
    ),
}

ALL = {
    name: each
    for name, each in vars(_errors).items()
    if isinstance(each, type) and issubclass(each, KapustaError) and name not in ABSTRACT
}


def test_the_table_has_a_row_for_every_error() -> None:
    """A new error comes with its sentence."""
    assert set(TABLE) == set(ALL)


@pytest.mark.parametrize("name", TABLE)
def test_an_error_says_what_and_which_and_what_next(name: str) -> None:
    """The message is built from the facts, and the facts stay at hand for a program."""
    facts, words, _ = TABLE[name]

    error = ALL[name](**facts)

    assert [word for word in words if word not in str(error)] == []
    assert {fact: getattr(error, fact) for fact in facts} == facts


@pytest.mark.parametrize("name", TABLE)
def test_an_error_is_a_kapusta_error_and_of_a_known_kind(name: str) -> None:
    """``except KapustaError`` catches all of ours, and the builtin kind works for those who think in it."""
    _, _, kind = TABLE[name]

    assert issubclass(ALL[name], kind)
    assert issubclass(ALL[name], KapustaError)
    assert (ALL[name].__doc__ or "").strip()


@pytest.mark.parametrize(
    ("url", "says"), [("postgresql://ada:secret@host/shop", True), ("sqlite:///t.db", False)]
)
def test_a_command_whose_password_is_hidden_says_so(url: str, says: bool) -> None:
    """Who copies the command is told what to put back; where nothing is missing, nothing is said."""
    error = _errors.StoreNotMigratedError(store=url, found=None, needs="1", command=f"upgrade {url}")

    assert ("with the password in place of ***" in str(error)) is says
    assert "secret" not in f"{error} {error.command}"


def test_what_an_application_can_meet_is_at_its_door() -> None:
    """All but those that never leave a worker or the command line."""
    inside = {"UnreadablePayloadError", "TargetError"}

    assert {name for name in ALL if name in kapusta.__all__} == set(ALL) - inside
    assert set(kapusta.__all__) >= ABSTRACT


@pytest.mark.parametrize(
    ("error", "reason", "ending"),
    [
        ("Traceback ...\nValueError: too bad\n", None, ": ValueError: too bad"),
        ("Traceback ...\nValueError: too bad\n", "no attempt is left", ": no attempt is left"),
        (None, None, "."),
    ],
)
def test_a_failed_task_is_told_by_its_reason_or_its_last_line(
    error: str | None, reason: str | None, ending: str
) -> None:
    """One line says it, and the whole traceback is an attribute."""
    failed = kapusta.TaskFailedError(task_id=7, name="t", status=TaskStatus.error, error=error, reason=reason)

    assert str(failed) == f"Task 7 ('t') ended as 'error'{ending}"
    assert failed.error == error


async def test_an_error_without_its_launch_cannot_repeat_it() -> None:
    """Made by hand, it says so."""
    with pytest.raises(RuntimeError, match="made without its launch"):
        await kapusta.LaunchUnknownError(task_ids=[7], problem="no answer").launch_again()


@pytest.mark.parametrize("name", TABLE)
def test_an_error_survives_a_pickle(name: str) -> None:
    """An error may come back from a pool of the user's own, or go to a log collector."""
    error = ALL[name](**TABLE[name][0])

    again = pickle.loads(pickle.dumps(error))

    assert str(again) == str(error)
    assert vars(again) == vars(error)
