"""Every error, its facts and its sentence.

An error takes facts by keyword, keeps them as attributes and builds its own message: what happened, to
which thing, and what to do next.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ._enums import TaskStatus


class KapustaError(Exception):
    """Base of all errors of Kapusta."""

    def __reduce__(self) -> tuple[Callable[..., KapustaError], tuple[Any, ...], Any]:
        # An exception is pickled as its class called with its message, which takes facts instead.
        return (_remade, (type(self), *self.args), self.__getstate__())


def _remade(kind: type[KapustaError], *message: str) -> KapustaError:
    error = kind.__new__(kind)
    error.args = message
    return error


# --- what is said of a task or of a launch ---------------------------------------------------------


class KapustaValueError(KapustaError, ValueError):
    """An option has a value that it cannot have."""

    def __init__(self, *, option: str, value: object, problem: str, remedy: str) -> None:
        self.option, self.value, self.problem, self.remedy = option, value, problem, remedy
        super().__init__(f"{option}={value!r} {problem}. {remedy}")


class KapustaExecutionModeError(KapustaError, ValueError):
    """A function cannot run in the mode that it was given."""

    def __init__(self, *, task: str, mode: str, problem: str, remedy: str) -> None:
        self.task, self.mode, self.problem, self.remedy = task, mode, problem, remedy
        super().__init__(f"Task '{task}' cannot run in mode '{mode}': {problem}. {remedy}")


class NotImportableError(KapustaExecutionModeError):
    """Another process cannot import the function by its name."""


class KapustaSyncTaskTimeoutError(KapustaError, ValueError):
    """A task in mode ``sync`` was given a timeout; nothing could enforce it."""

    def __init__(self, *, task: str, timeout: object) -> None:
        self.task, self.timeout = task, timeout
        super().__init__(
            f"Task '{task}' runs in mode 'sync', in the event loop's own thread, where its "
            f"timeout={timeout!r} cannot stop it. Leave the timeout out, or choose execution_mode='thread' "
            f"or 'process'."
        )


class UnknownOptionError(KapustaError, TypeError):
    """An option that does not exist, or not here."""

    def __init__(self, *, option: str, where: str, known: Sequence[str]) -> None:
        self.option, self.where, self.known = option, where, tuple(known)
        super().__init__(f"{where} has no option '{option}'. It takes: {', '.join(known)}.")


class DuplicateTaskError(KapustaError, ValueError):
    """Two tasks of one Kapusta go by one name."""

    def __init__(self, *, name: str, first: str, second: str) -> None:
        self.name, self.first, self.second = name, first, second
        super().__init__(
            f"Two tasks go by the name '{name}': {first} and {second}. "
            f"Give one of them another with name=, or drop it from aliases=."
        )


class TaskSignatureError(KapustaError, TypeError):
    """A function has a signature that cannot be launched."""

    def __init__(self, *, task: str, problem: str, remedy: str) -> None:
        self.task, self.problem, self.remedy = task, problem, remedy
        super().__init__(f"Task '{task}' {problem}. {remedy}")


# --- arguments and results --------------------------------------------------------------------------


class ArgumentError(KapustaError, TypeError):
    """The arguments of a launch do not fit the function, or cannot be stored."""

    def __init__(self, *, task: str, parameter: str | None, problem: str, remedy: str) -> None:
        self.task, self.parameter, self.problem, self.remedy = task, parameter, problem, remedy
        which = f"argument '{parameter}'" if parameter else "the arguments"
        super().__init__(f"Task '{task}' was not launched: {which}: {problem}. {remedy}")


class PayloadTooLargeError(KapustaError, ValueError):
    """The encoded arguments of a launch are larger than ``max_payload_bytes``."""

    def __init__(self, *, task: str, size: int, limit: int) -> None:
        self.task, self.size, self.limit = task, size, limit
        super().__init__(
            f"Task '{task}' was not launched: its arguments take {size} bytes, the limit is {limit}. Store "
            f"the data elsewhere and launch with a reference to it, or raise Kapusta(max_payload_bytes=...)."
        )


class UnreadablePayloadError(KapustaError):
    """Stored arguments that this worker cannot turn back into a call."""

    def __init__(self, *, task: str, problem: str) -> None:
        self.task, self.problem = task, problem
        super().__init__(
            f"The stored arguments of task '{task}' cannot be read here: {problem}. "
            f"Is another version of the function running elsewhere?"
        )


class ResultEncodingError(KapustaError):
    """A function returned what cannot be stored; its work is done all the same."""

    def __init__(self, *, task: str, problem: str) -> None:
        self.task, self.problem = task, problem
        super().__init__(
            f"The body of task '{task}' ran to its end, but its result was not stored: {problem}. "
            f"Return something smaller or simpler; launching again would do the work again."
        )


# --- asking about a task ----------------------------------------------------------------------------


class TaskNotFoundError(KapustaError, LookupError):
    """No task has this id."""

    def __init__(self, *, task_id: int) -> None:
        self.task_id = task_id
        super().__init__(
            f"No task has the id {task_id} in this store. Was it deleted, rolled back, or launched on another?"
        )


class TaskFailedError(KapustaError):
    """A task has ended, or is held, without a result.

    Attributes:
        task_id: which.
        status: ``error``, ``timeout``, ``overdue``, ``cancelled`` or ``held``.
        error: the traceback of the body's exception, if it raised one.
        reason: why Kapusta decided so, if it was Kapusta that did.
    """

    def __init__(self, *, task_id: int, name: str, status: TaskStatus, error: str | None, reason: str | None):
        self.task_id, self.name, self.status, self.error, self.reason = task_id, name, status, error, reason
        details = reason or (error.strip().rpartition("\n")[2] if error else None)
        super().__init__(
            f"Task {task_id} ('{name}') ended as '{status}'" + (f": {details}" if details else ".")
        )


class TaskNotFinishedError(KapustaError, TimeoutError):
    """A task did not end while ``result(timeout=...)`` waited."""

    def __init__(self, *, task_id: int, status: TaskStatus, timeout: float) -> None:
        self.task_id, self.status, self.timeout = task_id, status, timeout
        super().__init__(
            f"Task {task_id} is still '{status}' after {timeout:g} s. It goes on; ask again, or wait longer."
        )


class ResultNotStoredError(KapustaError, LookupError):
    """A task succeeded, and its result could not be stored."""

    def __init__(self, *, task_id: int, reason: str | None) -> None:
        self.task_id, self.reason = task_id, reason
        super().__init__(f"Task {task_id} succeeded, but has no result: {reason or 'none was stored'}")


class ResultUnreadableError(KapustaError, LookupError):
    """A stored result does not fit the return annotation of the function, as it is here."""

    def __init__(self, *, task: str, problem: str) -> None:
        self.task, self.problem = task, problem
        super().__init__(
            f"A run of task '{task}' succeeded, but its stored result cannot be read here: {problem}. "
            f"Mend the function's return annotation, or drop it to get plain JSON; the result stays stored."
        )


# --- stores -----------------------------------------------------------------------------------------


class StoreError(KapustaError):
    """The store could not do what it was asked."""


class StoreNotStartedError(StoreError, RuntimeError):
    """A store is used before ``startup()`` or after ``shutdown()``."""

    def __init__(self, *, backend: str) -> None:
        self.backend = backend
        super().__init__(
            f"The store of {backend} is not started. Call `await kapusta.startup()` first (or "
            f"`await kapusta.crud.startup()`, to launch without running tasks here)."
        )


class StillStartedError(KapustaError, RuntimeError):
    """The store of a Kapusta that runs was to be changed."""

    def __init__(self) -> None:
        super().__init__(
            "This Kapusta is started: its tasks run on the store that it has, which cannot be changed now. Call "
            "`await kapusta.shutdown()` first, within `with kapusta.using(...)` where that is left."
        )


class StoreUnavailableError(StoreError, ConnectionError):
    """The store did not answer, or answered that it cannot now; asking again is safe."""

    def __init__(self, *, operation: str, problem: str) -> None:
        self.operation, self.problem = operation, problem
        super().__init__(f"The store did not carry out {operation}: {problem}. Is it up and reachable?")


class LaunchUnknownError(StoreUnavailableError):
    """The store's reply to a launch was lost: the tasks may or may not be there.

    Attributes:
        task_ids: the ids that the tasks have if they are there.
    """

    def __init__(
        self, *, task_ids: Sequence[int], problem: str, again: Callable[[], Awaitable[Any]] | None = None
    ) -> None:
        super().__init__(operation="add_tasks", problem=problem)
        self.task_ids, self._again = tuple(task_ids), again
        ids = ", ".join(map(str, task_ids))
        message = (
            f"Whether the launch of {ids} has reached the store is unknown: {problem}. "
            f"`await error.launch_again()` repeats it and never makes a second task."
        )
        self.args = (message,)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_again": None}  # a launch cannot be pickled with its store

    async def launch_again(self) -> Any:
        """Repeat the launch, with the same ids; answers what the launch would have answered."""
        if self._again is None:
            raise RuntimeError("This error was made without its launch.")
        return await self._again()


class StoreUrlError(StoreError, ValueError):
    """A URL that leads to no store."""

    def __init__(self, *, url: str, problem: str, remedy: str) -> None:
        self.url, self.problem, self.remedy = url, problem, remedy
        super().__init__(f"The store URL {url!r} {problem}. {remedy}")


class MissingDriverError(StoreError, ImportError):
    """The library that speaks to a database is not installed."""

    def __init__(self, *, url: str, driver: str, install: str) -> None:
        self.url, self.driver, self.install = url, driver, install
        super().__init__(f"The store URL {url!r} needs '{driver}'. Install it: pip install {install}")


class StoreTooNewError(StoreError):
    """The stored schema is newer than this code can read."""

    def __init__(self, *, store: str, found: str, needs: int, reads: int) -> None:
        self.store, self.found, self.needs, self.reads = store, found, needs, reads
        super().__init__(
            f"The store {store} was migrated by a newer version: its schema is '{found}' and asks for readers "
            f"of version {needs}, this one is {reads}. Upgrade the packages here; nothing was changed."
        )


class StoreNotMigratedError(StoreError):
    """The stored schema is missing or older than this code needs, and migrating was forbidden."""

    def __init__(self, *, store: str, found: str | None, needs: str, command: str) -> None:
        self.store, self.found, self.needs, self.command = store, found, needs, command
        super().__init__(
            f"The store {store} has schema {found or 'none'!r} and needs '{needs}'. Run: {command}"
        )


# --- plugins ----------------------------------------------------------------------------------------


class BackendNotFoundError(KapustaError, LookupError):
    """No installed plugin provides a backend for a URL or a name."""

    def __init__(
        self, *, wanted: str, known: Sequence[str], broken: Sequence[str], meant: str | None = None
    ) -> None:
        self.wanted, self.known, self.broken, self.meant = wanted, tuple(known), tuple(broken), meant
        have = ", ".join(known) or "none"
        sick = f" Broken plugins: {'; '.join(broken)}." if broken else ""
        slip = f" Did you mean {meant}?" if meant else ""
        super().__init__(
            f"No installed backend provides '{wanted}'. Installed: {have}.{sick}{slip} "
            f"Install the distribution that provides it, or check the spelling."
        )


class MissingPluginError(BackendNotFoundError, ImportError):
    """A backend that Kapusta knows of is not installed."""

    def __init__(self, *, wanted: str, distribution: str, broken: Sequence[str] = ()) -> None:
        super().__init__(wanted=wanted, known=(), broken=broken)
        self.distribution = distribution
        sick = f" (broken: {'; '.join(broken)})" if broken else ""
        how = "Mend it: pip install --force-reinstall" if broken else "Install it: pip install"
        self.args = (f"'{wanted}' comes with '{distribution}'{sick}. {how} {distribution}",)
        self.msg = self.args[0]


class DuplicateBackendError(KapustaError):
    """Two distributions claim one backend name or one URL scheme."""

    def __init__(self, *, wanted: str, distributions: Sequence[str]) -> None:
        self.wanted, self.distributions = wanted, tuple(distributions)
        super().__init__(
            f"Backend '{wanted}' is provided by more than one distribution: {', '.join(distributions)}. "
            f"Uninstall all but one."
        )


class BrokenPluginError(KapustaError, ImportError):
    """A plugin could not be loaded, or answered nonsense."""

    def __init__(self, *, distribution: str, problem: str) -> None:
        self.distribution, self.problem = distribution, problem
        super().__init__(
            f"The plugin of distribution '{distribution}' is broken: {problem}. Upgrade or uninstall it."
        )


class BackendTooNewError(KapustaError):
    """A backend was written for a later version of the protocol than this core speaks."""

    def __init__(self, *, backend: str, needs: int, speaks: int) -> None:
        self.backend, self.needs, self.speaks = backend, needs, speaks
        super().__init__(
            f"{backend} was written for version {needs} of the backend protocol, and this kapusta-core speaks "
            f"version {speaks}. Run: pip install --upgrade kapusta-core"
        )


# --- processes --------------------------------------------------------------------------------------


class MissingMainGuardError(KapustaError, RuntimeError):
    """A child process imported a script that starts its work when it is imported."""

    def __init__(self, *, action: str, module: str) -> None:
        self.action, self.module = action, module
        super().__init__(
            f"{action} was called while a child process imported '{module}' to find a task of mode 'process'. "
            f'Put what the script does when it is run under `if __name__ == "__main__":`.'
        )


class TargetError(KapustaError, ValueError):
    """The command line names something that is no Kapusta."""

    def __init__(self, *, target: str, problem: str) -> None:
        self.target, self.problem = target, problem
        super().__init__(
            f"'{target}' {problem}. Name the module and, in it, the Kapusta: package.module:kapusta."
        )


# --- testing ----------------------------------------------------------------------------------------


class StillBusyError(KapustaError, TimeoutError):
    """Time cannot be moved on: something real did not come to an end."""

    def __init__(self, *, busy: Sequence[str], seconds: float) -> None:
        self.busy, self.seconds = tuple(busy), seconds
        super().__init__(
            f"After {seconds:g} s of real time these are still busy: {', '.join(busy)}. A body that only waits "
            f"for time should `await clock.sleep(...)`; one that waits for the test, for an asyncio.Event."
        )
