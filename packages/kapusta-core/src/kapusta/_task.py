"""A function one can launch."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable, Mapping
from datetime import timedelta
from typing import Any, Generic, ParamSpec, Protocol, Self, TypeVar, Unpack, cast, overload

import msgspec

from ._enums import TaskExecutionMode
from ._errors import KapustaValueError
from ._handle import TaskHandle
from ._launcher import Launcher
from ._naming import import_path
from ._options import LaunchOptions, TaskOptions, launch_options
from ._spec import TaskSpec

P = ParamSpec("P")
R = TypeVar("R")


class Task(Generic[P, R]):
    """A registered function: call it, or launch it. Immutable; options are per launch.

    ``task(7)`` just calls the function; ``await task.launch(7)`` stores the call, to be run by a worker.
    """

    def __init__(self, spec: TaskSpec, launcher: Launcher, options: TaskOptions | None = None) -> None:
        self._spec, self._launcher = spec, launcher
        self._options = options or spec.options

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Any:
        """Call the function here and now; nothing is stored."""
        return self._spec.function(*args, **kwargs)

    def __repr__(self) -> str:
        return f"<Task '{self.name}' ({self.execution_mode})>"

    @property
    def name(self) -> str:
        """The name that its tasks are stored under."""
        return self._spec.name

    @property
    def func(self) -> Callable[P, Any]:
        """The registered function."""
        return self._spec.function

    @property
    def execution_mode(self) -> TaskExecutionMode:
        """Where its body runs."""
        return self._options.execution_mode

    @property
    def eta_delta(self) -> timedelta | None:
        """Delay before execution."""
        return self._options.eta_delta

    @property
    def overdue_time_delta(self) -> timedelta | None:
        """How long after its launch a task is overdue."""
        return self._options.policy.overdue_time

    @property
    def max_retry_attempts(self) -> int:
        """How many failures are followed by another attempt."""
        return self._options.policy.max_retry_attempts

    @property
    def timeout(self) -> float:
        """The seconds that its body may take; 0 for no limit."""
        timeout = self._options.policy.timeout
        return timeout.total_seconds() if timeout else 0

    @overload
    async def launch(self, /, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]: ...

    @overload
    async def launch(
        self, /, *args: Any, update_params: Mapping[str, Any], **kwargs: Any
    ) -> TaskHandle[R]: ...

    async def launch(
        self, /, *args: Any, update_params: Mapping[str, Any] | None = None, **kwargs: Any
    ) -> TaskHandle[R]:
        """Store a call of the function; it is durable when this returns.

        Args:
            *args: positional arguments of the function.
            update_params: options for this launch only; see `with_options`.
            **kwargs: keyword arguments of the function.

        Raises:
            ArgumentError: an argument is missing, surplus, or cannot be stored; nothing was stored.
            PayloadTooLargeError: the encoded arguments are over ``max_payload_bytes``; nothing was stored.
            UnknownOptionError, KapustaValueError: an option is wrong; nothing was stored.
            StoreNotStartedError: ``startup()`` comes first.
            LaunchUnknownError: the store did not answer; ``await error.launch_again()`` repeats the launch.
        """
        options = self._options if update_params is None else self._updated(update_params)
        return await self._launcher.launch(self._spec, options, (args, kwargs))

    async def launch_now(self, /, *args: P.args, **kwargs: P.kwargs) -> TaskHandle[R]:
        """Like ``launch``, due at once, whatever ``eta_delta`` the task was registered with."""
        now = msgspec.structs.replace(self._options, eta_delta=None, eta=None)
        return await self._launcher.launch(self._spec, now, (args, kwargs))

    async def launch_many(self, calls: Iterable[Mapping[str, Any]]) -> list[TaskHandle[R]]:
        """Store many calls, given as keyword arguments, all or none, in one write; answer handles in order.

        Raises:
            ArgumentError, PayloadTooLargeError: as by `launch`; ``error.call`` says which of them.
        """
        return await self._launcher.launch_many(self._spec, self._options, calls)

    def with_options(self, **options: Unpack[LaunchOptions]) -> Self:
        """The same task with other options, for launches from here; this one stays as it is.

        Args:
            **options: see `LaunchOptions`.

        Raises:
            UnknownOptionError, KapustaValueError, KapustaExecutionModeError, KapustaSyncTaskTimeoutError: an
                option is wrong.
        """
        return type(self)(self._spec, self._launcher, self._updated(options))

    def _updated(self, given: Mapping[str, Any]) -> TaskOptions:
        options = launch_options(self.name, self._options, is_async=self._spec.is_async, given=given)
        if options.execution_mode is TaskExecutionMode.process and self._spec.importable is None:
            import_path(self._spec.function, task=self.name)  # raises, and says why
        return options


class SyncTask(Task[P, R]):
    """A task made of a plain function."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function here and now; nothing is stored."""
        return cast("R", self._spec.function(*args, **kwargs))


class AsyncTask(Task[P, R]):
    """A task made of an ``async def`` function."""

    def __call__(self, /, *args: P.args, **kwargs: P.kwargs) -> Coroutine[Any, Any, R]:
        """Call the function here and now, and await it; nothing is stored."""
        return cast("Coroutine[Any, Any, R]", self._spec.function(*args, **kwargs))


class TaskDecorator(Protocol):
    """What ``@kapusta.task(...)`` makes of a function."""

    @overload
    def __call__(  # type: ignore[overload-overlap]  # a coroutine function fits both; the first one counts
        self, func: Callable[P, Coroutine[Any, Any, R]], /
    ) -> AsyncTask[P, R]: ...

    @overload
    def __call__(self, func: Callable[P, R], /) -> SyncTask[P, R]: ...


def check_function(func: object) -> None:
    """Refuse what no task can be made of.

    Raises:
        KapustaValueError: it cannot be called, or is a task.
    """
    if isinstance(func, Task):
        problem = "is a task already"
        remedy = "Register its function, task.func, under another name=."
    elif not callable(func):
        problem = "is no function"
        remedy = "Give a function, with `def` or `async def`."
    else:
        return
    raise KapustaValueError(option="func", value=func, problem=problem, remedy=remedy)
