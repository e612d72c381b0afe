"""What may be wrong with a program whose processes Kapusta starts."""

from __future__ import annotations

from ._root import KapustaError


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

    def __init__(
        self,
        *,
        target: str,
        problem: str,
        remedy: str = "Name the module and, in it, the Kapusta: package.module:kapusta.",
    ) -> None:
        self.target, self.problem = target, problem
        super().__init__(f"'{target}' {problem}. {remedy}")
