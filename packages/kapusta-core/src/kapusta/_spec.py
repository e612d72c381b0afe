"""One registered function, and what was said of it, frozen."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import msgspec

from ._arguments import Arguments
from ._codec import Codecs
from ._enums import TaskExecutionMode
from ._naming import ImportPath, importable, stored_name
from ._options import Policy, RegistrationOptions, TaskOptions, as_name, as_names, task_options


class TaskSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A function and what was said of it at its registration.

    Attributes:
        name: what its tasks are stored under.
        aliases: other names whose stored tasks it runs.
        function: the function itself.
        is_async: whether it is an ``async def`` function.
        arguments: its parameters.
        options: the options of its launches.
        importable: where a child process finds it; ``None`` if it cannot.
    """

    name: str
    aliases: tuple[str, ...]
    function: Callable[..., Any]
    is_async: bool
    arguments: Arguments
    options: TaskOptions
    importable: ImportPath | None

    @classmethod
    def of(
        cls,
        function: Callable[..., Any],
        execution_mode: object,
        options: RegistrationOptions,
        defaults: Policy,
        codecs: Codecs,
    ) -> TaskSpec:
        """What a registration comes to; *defaults* are for what it does not say.

        Raises:
            KapustaValueError, KapustaSyncTaskTimeoutError, UnknownOptionError: an option is wrong.
            KapustaExecutionModeError: mode and function do not fit.
            TaskSignatureError: the function cannot be launched.
        """
        given_name = options.get("name")
        name = stored_name(function) if given_name is None else as_name("name", given_name)
        is_async = is_async_function(function)
        given = {key: value for key, value in options.items() if key not in ("name", "aliases")}
        chosen = task_options(
            name,
            is_async=is_async,
            given={**given, "execution_mode": execution_mode},
            defaults=defaults,
        )
        in_process = chosen.execution_mode is TaskExecutionMode.process
        return cls(
            name=name,
            aliases=as_names("aliases", options.get("aliases")),
            function=function,
            is_async=is_async,
            arguments=Arguments(name, function, codecs),
            options=chosen,
            importable=importable(function, task=name, needed=in_process),
        )


def is_async_function(function: Callable[..., Any]) -> bool:
    """Whether calling *function* gives a coroutine."""
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - an object whose __call__ is async is meant
    )
