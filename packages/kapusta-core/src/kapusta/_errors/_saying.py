"""What is wrong with what was said of a task or of a launch."""

from __future__ import annotations

from collections.abc import Sequence

from ._root import KapustaError


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


class OutsideOfTaskError(KapustaError, RuntimeError):
    """Something was called that only the body of a running task can call."""

    def __init__(self, *, action: str) -> None:
        self.action = action
        super().__init__(
            f"{action} was called outside of a running task of this Kapusta. Await it in the body of an "
            f"`async def` task; a child process of mode 'process' cannot."
        )
