"""The application object: composes, starts, stops."""

from __future__ import annotations

import logging
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, Unpack, overload

from ._backoff import Backoff
from ._crud import BaseCRUD
from ._durations import as_optional_timedelta, as_positive_timedelta, as_timedelta
from ._enums import OnCrash, TaskExecutionMode, TaskStatus
from ._errors import KapustaValueError
from ._handle import TaskClient, TaskHandle, as_task_id
from ._host import Host
from ._launcher import Launcher
from ._opening import opened
from ._options import Policy, RegistrationOptions, as_count, make_policy
from ._pickle_codec import PickleCodec, codecs_with
from ._registry import Registry
from ._spec import TaskSpec
from ._store import Store
from ._surroundings import as_environment, as_logger
from ._task import AsyncTask, SyncTask, Task, TaskDecorator, check_function
from ._worker import Worker, WorkerSettings
from ._worker._finishing import finisher_of
from .types import Duration, TaskId

P = ParamSpec("P")
R = TypeVar("R")


class Kapusta:
    """Runs the tasks of one application, on the store it is given.

    Constructing opens nothing. ``await kapusta.startup()`` (or ``async with kapusta:``) opens the store and
    begins to run tasks; ``await kapusta.shutdown()`` ends both. It lives on one event loop at a time.

    Args:
        crud: the store: a backend, or a URL that leads to one (``"sqlite:///tasks.db"``, ``"memory://"``).
        logger: used as it is by every part; by default ``logging.getLogger("kapusta")``.
        max_tick_interval: the longest time between two looks for tasks that have come due.
        default_overdue_time_delta: how long after its launch a task that has not started is overdue, unless
            its registration says otherwise; ``None``: never.
        default_max_retry_attempts: how many failures are followed by another attempt, likewise.
        default_timeout: how long a body may take, likewise; does not apply to mode ``sync``; 0: for ever.
        default_backoff: how long until the next attempt, likewise.
        default_on_crash: what becomes of a task whose worker or child process ended under it, likewise.
        default_max_crashes: after so many crashes in a row a task is held, likewise.
        max_concurrent_tasks: how many bodies run at once here, of all modes.
        max_threads: how many of them in threads.
        max_processes: how many of them in child processes; by default one per processor.
        lease: how long a claimed task belongs to a worker that is not heard of.
        grace: how long ``shutdown()`` lets running bodies finish.
        max_payload_bytes: how large encoded arguments, and an encoded result, may be.
        store_timeout: how long the store has to answer one call; a batch has as long again for each 10,000 tasks.
        process_environment: the environment of child processes; by default this process's own.
        codec: a `PickleCodec`, to pass Python objects of any type; by default arguments and results are JSON.

    Every duration takes seconds or a ``timedelta``.

    Raises:
        KapustaValueError: an option has a value that it cannot have.
        StoreUrlError, BackendNotFoundError, MissingPluginError, DuplicateBackendError, MissingDriverError: no
            backend, or two, or one without its driver, for this URL.
    """

    def __init__(
        self,
        crud: BaseCRUD | str,
        logger: logging.Logger | None = None,
        max_tick_interval: Duration = 60 * 5,
        default_overdue_time_delta: Duration | None = None,
        default_max_retry_attempts: int = 0,
        default_timeout: Duration | None = 60,
        *,
        default_backoff: Backoff | Duration | None = Backoff(),  # noqa: B008 - frozen
        default_on_crash: OnCrash | str = OnCrash.retry,
        default_max_crashes: int | None = 3,
        max_concurrent_tasks: int = 100,
        max_threads: int = 10,
        max_processes: int | None = None,
        lease: Duration = timedelta(seconds=30),
        grace: Duration = timedelta(seconds=10),
        max_payload_bytes: int = 1 << 20,
        store_timeout: Duration = timedelta(seconds=10),
        process_environment: Mapping[str, str] | None = None,
        codec: PickleCodec | None = None,
    ) -> None:
        self.logger = as_logger(logger)
        self._defaults = make_policy(
            {
                "overdue_time": as_optional_timedelta(
                    "default_overdue_time_delta", default_overdue_time_delta
                ),
                "max_retry_attempts": default_max_retry_attempts,
                "timeout": default_timeout,
                "backoff": default_backoff,
                "on_crash": default_on_crash,
                "max_crashes": default_max_crashes,
            },
            Policy(),
            prefix="default_",
        )
        self._settings = WorkerSettings(
            lease=as_positive_timedelta("lease", lease),
            grace=as_timedelta("grace", grace),
            max_tick_interval=as_positive_timedelta("max_tick_interval", max_tick_interval),
            store_timeout=as_positive_timedelta("store_timeout", store_timeout),
            max_concurrent_tasks=as_count("max_concurrent_tasks", max_concurrent_tasks, least=1),
            max_threads=as_count("max_threads", max_threads, least=1),
            max_processes=None
            if max_processes is None
            else as_count("max_processes", max_processes, least=1),
            max_result_bytes=as_count("max_payload_bytes", max_payload_bytes, least=1),
            process_environment=as_environment(process_environment),
        )
        settings = self._settings
        self._codecs = codecs_with(codec)
        self._registry = Registry(self._codecs)
        self._store = Store(opened(crud), timeout=settings.store_timeout, outage_after=settings.lease / 3)
        self._host = Host(self._store, self._make_worker, self.listening, self.logger)
        self._client = TaskClient(self._store, self._registry.result_of, self._host.wake)
        self._launcher = Launcher(
            self._store,
            self._client,
            max_payload_bytes=max_payload_bytes,
            start=self._host.start_new,
            stored=self._host.wake,
        )

    def __repr__(self) -> str:
        return f"<Kapusta on {self.crud!r}, {self._registry.in_words()}>"

    @property
    def crud(self) -> BaseCRUD:
        """The store. Started by itself, ``await kapusta.crud.startup()``, it takes launches and runs nothing."""
        return self._store.crud

    # --- tasks ----------------------------------------------------------------------------------

    @overload
    def register_task(  # type: ignore[overload-overlap]  # as above
        self,
        func: Callable[P, Coroutine[Any, Any, R]],
        execution_mode: TaskExecutionMode | str | None = None,
        **options: Unpack[RegistrationOptions],
    ) -> AsyncTask[P, R]: ...

    @overload
    def register_task(
        self,
        func: Callable[P, R],
        execution_mode: TaskExecutionMode | str | None = None,
        **options: Unpack[RegistrationOptions],
    ) -> SyncTask[P, R]: ...

    def register_task(
        self,
        func: Callable[..., Any],
        execution_mode: TaskExecutionMode | str | None = None,
        **options: Unpack[RegistrationOptions],
    ) -> Task[Any, Any]:
        """Make a task of a function, to be launched here and run by any worker of this Kapusta.

        Args:
            func: a plain or a coroutine function.
            execution_mode: where its body runs; by default ``async_`` for a coroutine function, else ``sync``.
            **options: see `RegistrationOptions`.

        Raises:
            KapustaValueError, KapustaSyncTaskTimeoutError, UnknownOptionError: an option is wrong.
            KapustaExecutionModeError: mode and function do not fit.
            DuplicateTaskError: another task has this name.
            TaskSignatureError: the function cannot be launched.
        """
        check_function(func)
        spec = TaskSpec.of(func, execution_mode, options, self._defaults, self._codecs)
        self._registry.add(spec)
        self._host.wake()
        return (AsyncTask if spec.is_async else SyncTask)(spec, self._launcher)

    def task(
        self, execution_mode: TaskExecutionMode | str | None = None, **options: Unpack[RegistrationOptions]
    ) -> TaskDecorator:
        """`register_task` as a decorator: ``@kapusta.task()``, with the same options."""
        if callable(execution_mode):
            raise KapustaValueError(
                option="execution_mode",
                value=execution_mode,
                problem="is a function",
                remedy="Write the decorator with parentheses: @kapusta.task().",
            )

        def decorator(func: Callable[..., Any]) -> Any:
            return self.register_task(func, execution_mode, **options)

        return decorator

    # --- starting and stopping ------------------------------------------------------------------

    async def startup(self) -> None:
        """Open the store, and begin to run tasks; twice is once.

        After a `shutdown` that was cut short it begins anew, and the shutdown goes on beside it.

        Raises:
            StoreNotStartedError: it is started on another event loop that runs; ``error.elsewhere`` is true.
            MissingMainGuardError: a child process is importing a script that does this unguarded.
            StoreError: the store cannot be used; see `BaseCRUD.startup`.
        """
        await self._host.startup()

    async def shutdown(self) -> None:
        """Stop claiming, let running tasks finish for ``grace``, settle, and close the store; twice is once.

        What is still running then is stopped and given back, or, where it cannot be stopped, left to be
        rescued when its lease ends. Returns even when the store is gone: then within ``grace``, ten seconds and five
        times ``store_timeout``, and a few seconds more where a child process must be killed.
        """
        await self._host.shutdown()

    async def __aenter__(self) -> Self:
        await self.startup()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.shutdown()

    @contextmanager
    def using(self, crud: BaseCRUD | str) -> Iterator[BaseCRUD]:
        """For the block, keep the tasks of this Kapusta in another store: for tests of an application.

        The tasks stay registered; what was launched before stays where it is. Start and shut down within the block.

        Raises:
            StillStartedError: the Kapusta runs where the block begins or ends; the store it has then, it keeps.
        """
        before = self.crud
        self._host.change_store(opened(crud))
        try:
            yield self.crud
        finally:
            self._host.change_store(before)

    async def listening(self) -> None:
        """Claim tasks and run them, until `shutdown`; what ``startup()`` runs as an asyncio task."""
        await self._host.listening()

    def create_listening_task(self) -> None:
        """Begin to run tasks, or go on after `stop_listening_task`; the store is started already."""
        self._host.create_listening_task()

    def stop_listening_task(self) -> None:
        """Claim nothing more; what runs goes on, and its leases with it, until `shutdown`."""
        self._host.stop_listening_task()

    async def run_until_idle(self) -> None:
        """Run everything that is due, to its end, without moving time: with the worker here, or one for the purpose.

        Raises:
            StillBusyError: with a clock that a test moves: a body waits for time to be moved.
            StoreNotStartedError: the store is not started.
        """
        await self._host.run_until_idle()

    async def finish_within(self, transaction: object, result: object = None) -> None:
        """In the body of a running task: write its success within a transaction of the body's own.

        It is there exactly if the transaction commits, and stays, however the body ends after that. If it does not
        commit, or could not even be written, the task counts as crashed: ``on_crash`` says what becomes of it.

        Args:
            transaction: an open transaction of yours; see the launch option of this name.
            result: what the task's result is to be.

        Raises:
            OutsideOfTaskError: this is not the body of a task of this Kapusta.
            ClaimLostError: somebody else has the task by now; let the transaction roll back.
            AlreadyFinishedError: this run has called it before, and has not rolled that back.
            ResultEncodingError, TransactionError: nothing was written.
        """
        await finisher_of(self._store).finish_within(transaction, result)

    # --- asking ---------------------------------------------------------------------------------

    def handle(self, task_id: TaskId) -> TaskHandle[Any]:
        """A handle for an id from elsewhere."""
        return TaskHandle(as_task_id(task_id), self._client)

    async def get_task_status(self, task_id: TaskId) -> TaskStatus | None:
        """Where a task stands; ``None`` if there is none with this id."""
        task = await self._client.find(task_id)
        return task.status if task else None

    async def get_task_result(self, task_id: TaskId) -> Any:
        """What the function of a task returned; ``None`` while there is no result, and for an unknown id."""
        task = await self._client.find(task_id)
        if task is None or task.status is not TaskStatus.success or task.result is None:
            return None
        return self._client.outcome(task)

    # --- inside ---------------------------------------------------------------------------------

    def _make_worker(self) -> Worker:
        return Worker(
            store=self._store,
            registry=self._registry,
            client=self._client,
            codecs=self._codecs,
            settings=self._settings,
            logger=self.logger,
        )
