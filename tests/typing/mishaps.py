"""What a program does when something goes wrong: every error, with its facts."""

from __future__ import annotations

from typing import assert_type

from kapusta import (
    AlreadyFinishedError,
    ArgumentError,
    BackendNotFoundError,
    BackendTooNewError,
    BrokenPluginError,
    ClaimLostError,
    DuplicateBackendError,
    DuplicateTaskError,
    KapustaError,
    KapustaExecutionModeError,
    KapustaSyncTaskTimeoutError,
    KapustaValueError,
    LaunchUnknownError,
    MissingDriverError,
    MissingMainGuardError,
    MissingPluginError,
    NotImportableError,
    OutsideOfTaskError,
    PayloadTooLargeError,
    ResultEncodingError,
    ResultNotStoredError,
    ResultUnreadableError,
    StillBusyError,
    StoreError,
    StoreNotMigratedError,
    StoreNotStartedError,
    StoreTooNewError,
    StoreUnavailableError,
    StoreUrlError,
    Task,
    TaskFailedError,
    TaskHandle,
    TaskNotFinishedError,
    TaskNotFoundError,
    TaskSignatureError,
    TaskStatus,
    TransactionError,
    UnknownOptionError,
)


async def launch(task: Task[[int], str]) -> str:
    """Launch, wait, and make the best of what happens."""
    try:
        handle = await task.launch(7)
    except LaunchUnknownError as unknown:
        assert_type(unknown.task_ids, tuple[int, ...])
        await unknown.launch_again()
        raise
    except (ArgumentError, PayloadTooLargeError, StoreNotStartedError) as mistake:
        return str(mistake)
    return await outcome(handle)


async def outcome(handle: TaskHandle[str]) -> str:
    """Wait for a task, and tell apart all the ways in which there may be no result."""
    try:
        return await handle.result(timeout=30)
    except TaskFailedError as failed:
        assert_type(failed.status, TaskStatus)
        assert_type(failed.task_id, int)
        assert_type(failed.error, str | None)
        assert_type(failed.reason, str | None)
        return failed.name
    except TaskNotFinishedError as late:
        assert_type(late.timeout, float)
    except ResultNotStoredError as lost:
        assert_type(lost.reason, str | None)
    except (TaskNotFoundError, ResultUnreadableError) as mistake:
        return str(mistake)
    return ""


def at_registration(
    value: KapustaValueError,
    mode: KapustaExecutionModeError,
    importing: NotImportableError,
    timeout: KapustaSyncTaskTimeoutError,
    option: UnknownOptionError,
    duplicate: DuplicateTaskError,
    signature: TaskSignatureError,
) -> None:
    """What is wrong with a task, or with the options of a launch."""
    assert_type((value.option, value.problem, value.remedy), tuple[str, str, str])
    assert_type((mode.task, mode.mode, importing.remedy), tuple[str, str, str])
    assert_type((timeout.task, timeout.timeout), tuple[str, object])
    assert_type((option.option, option.known), tuple[str, tuple[str, ...]])
    assert_type((duplicate.name, duplicate.first, duplicate.second), tuple[str, str, str])
    assert_type(signature.problem, str)


def of_an_argument(argument: ArgumentError, size: PayloadTooLargeError) -> None:
    """What is wrong with a call."""
    assert_type((argument.task, argument.parameter), tuple[str, str | None])
    assert_type(size.size - size.limit, int)
    assert_type((argument.call, size.call), tuple[int | None, int | None])


def of_a_store(
    url: StoreUrlError,
    driver: MissingDriverError,
    too_new: StoreTooNewError,
    not_migrated: StoreNotMigratedError,
    unavailable: StoreUnavailableError,
) -> None:
    """What is wrong with a store."""
    assert_type((url.url, url.remedy), tuple[str, str])
    assert_type((driver.driver, driver.install, driver.command), tuple[str, str, str])
    assert_type(too_new.needs - too_new.reads, int)
    assert_type((not_migrated.found, not_migrated.command), tuple[str | None, str])
    assert_type(unavailable.operation, str)
    any_of_them: list[StoreError] = [url, driver, too_new, not_migrated, unavailable]
    all_of_ours: list[KapustaError] = [*any_of_them]
    assert_type(all_of_ours, list[KapustaError])


def of_a_transaction(
    transaction: TransactionError,
    lost: ClaimLostError,
    finished: AlreadyFinishedError,
    outside: OutsideOfTaskError,
    result: ResultEncodingError,
) -> None:
    """What may keep a launch, or an outcome, out of a transaction."""
    assert_type((transaction.transaction, transaction.problem, transaction.remedy), tuple[str, str, str])
    assert_type(lost.task_id, int)
    assert_type(finished.task_id, int)
    assert_type(outside.action, str)
    assert_type((result.task, result.problem, result.done), tuple[str, str, bool])


def of_the_surroundings(
    backend: BackendNotFoundError,
    plugin: MissingPluginError,
    duplicate: DuplicateBackendError,
    broken: BrokenPluginError,
    newer: BackendTooNewError,
    guard: MissingMainGuardError,
    busy: StillBusyError,
) -> None:
    """What is wrong with what is installed, with a script, or with a test."""
    assert_type((backend.wanted, backend.known), tuple[str, tuple[str, ...]])
    assert_type(plugin.distribution, str)
    assert_type(duplicate.distributions, tuple[str, ...])
    assert_type((broken.distribution, broken.problem), tuple[str, str])
    assert_type((newer.backend, newer.needs, newer.speaks), tuple[str, int, int])
    assert_type(guard.module, str)
    assert_type((busy.busy, busy.seconds), tuple[tuple[str, ...], float])
