"""What may go wrong with a store."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from ._masked import masked, masked_command
from ._root import KapustaError


class StoreError(KapustaError):
    """The store could not do what it was asked."""


class StoreNotStartedError(StoreError, RuntimeError):
    """A store is used before ``startup()``, after ``shutdown()``, or on another event loop.

    Attributes:
        elsewhere: whether it is started, on another event loop than the one that it was used on.
    """

    def __init__(self, *, backend: str, elsewhere: bool = False) -> None:
        self.backend, self.elsewhere = backend, elsewhere
        super().__init__(
            f"The store of {backend} is started on another event loop than this one. Use it there: a thread hands its "
            f"launch over by asyncio.run_coroutine_threadsafe(task.launch(...), loop)."
            if elsewhere
            else f"The store of {backend} is not started. Call `await kapusta.startup()` first (or "
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
    """The store did not answer, or answered that it cannot now; asking again is safe.

    Attributes:
        busy: whether it is within reach, and another writer was in the way for too long.
    """

    def __init__(self, *, operation: str, problem: str, busy: bool = False) -> None:
        self.operation, self.problem, self.busy = operation, problem, busy
        super().__init__(f"The store did not carry out {operation}: {problem}. Is it up and reachable?")


class LaunchUnknownError(StoreUnavailableError):
    """The store's reply to a launch was lost: the tasks may or may not be there.

    `launch_again` repeats the launch. It makes no second task while the first is stored.

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
            f"`await error.launch_again()` repeats it, and makes no second task while the first is stored."
        )
        self.args = (message,)

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_again": None}  # a launch cannot be pickled with its store

    async def launch_again(self) -> Any:
        """Repeat the launch, with the same ids; answers what the launch would have answered.

        A task that is stored is found by its id and not made again, whether it waits, runs or has ended. A task that has
        been deleted has left nothing to find: then this makes another, which runs.
        """
        if self._again is None:
            raise RuntimeError("This error was made without its launch.")
        return await self._again()


class StoreUrlError(StoreError, ValueError):
    """A URL that leads to no store; its password is not kept."""

    def __init__(self, *, url: str, problem: str, remedy: str) -> None:
        self.url, self.problem, self.remedy = masked(url), problem, remedy
        super().__init__(f"The store URL {self.url!r} {problem}. {remedy}")


class MissingDriverError(StoreError, ImportError):
    """The library that speaks to a database is not installed.

    Attributes:
        install: the distribution that brings it, with its extra.
        command: what to type to install that.
    """

    def __init__(self, *, url: str, driver: str, install: str) -> None:
        self.url, self.driver, self.install = masked(url), driver, install
        # To some shells a bracket is a pattern, and every one of them knows these quotes.
        quoted = f'"{install}"' if "[" in install else install
        self.command = f"pip install {quoted}"
        super().__init__(f"The store URL {self.url!r} needs '{driver}'. Install it: {self.command}")


class StoreTooNewError(StoreError):
    """The stored schema is newer than this code can read."""

    def __init__(self, *, store: str, found: str, needs: int, reads: int) -> None:
        self.store, self.found, self.needs, self.reads = masked(store), found, needs, reads
        super().__init__(
            f"The store {self.store} was migrated by a newer version: its schema is '{found}' and asks for readers "
            f"of version {needs}, this one is {reads}. Upgrade the packages here; nothing was changed."
        )


class StoreNotMigratedError(StoreError):
    """The stored schema is missing or older than this code needs, and migrating was forbidden.

    Attributes:
        command: what to type; ``***`` in it stands for a password, which is not printed.
    """

    def __init__(self, *, store: str, found: str | None, needs: str, command: str) -> None:
        self.store, self.found, self.needs = masked(store), found, needs
        self.command = masked_command(command)
        hint = ", with the password in place of ***" if "***" in self.command else ""
        super().__init__(
            f"The store {self.store} has schema {found or 'none'!r} and needs '{needs}'. Run{hint}: {self.command}"
        )


class TransactionError(StoreError, ValueError):
    """A transaction cannot be joined."""

    def __init__(self, *, transaction: str, problem: str, remedy: str) -> None:
        self.transaction, self.problem, self.remedy = transaction, problem, remedy
        super().__init__(f"The transaction {transaction} cannot be joined: {problem}. {remedy}")


class ClaimLostError(StoreError):
    """A body wants to finish its task, whose claim it has lost: somebody else may have it by now."""

    def __init__(self, *, task_id: int) -> None:
        self.task_id = task_id
        super().__init__(
            f"Task {task_id} is not this run's any more, or has ended: its outcome was not written. Roll the "
            f"transaction back, so that its effects are not there twice."
        )


class AlreadyFinishedError(StoreError, RuntimeError):
    """A body wants to finish its task a second time, and the first has not been rolled back."""

    def __init__(self, *, task_id: int) -> None:
        self.task_id = task_id
        super().__init__(
            f"Task {task_id} was finished by this run already: that outcome counts if its transaction commits, and "
            f"this one was not written. Call finish_within() once in a run."
        )
