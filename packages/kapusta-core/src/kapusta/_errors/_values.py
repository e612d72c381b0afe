"""What is wrong with arguments and results."""

from __future__ import annotations

from ._root import KapustaError


class ArgumentError(KapustaError, TypeError):
    """The arguments of a launch do not fit the function, or cannot be stored.

    Attributes:
        call: of many calls, which, counted from 0; ``None``: there was one.
    """

    def __init__(
        self, *, task: str, parameter: str | None, problem: str, remedy: str, call: int | None = None
    ) -> None:
        self.task, self.parameter, self.call = task, parameter, call
        self.problem, self.remedy = problem, remedy
        which = f"argument '{parameter}'" if parameter else "the arguments"
        which = which if call is None else f"calls[{call}], {which}"
        super().__init__(f"Task '{task}' was not launched: {which}: {problem}. {remedy}")


class PayloadTooLargeError(KapustaError, ValueError):
    """The encoded arguments of a launch are larger than ``max_payload_bytes``.

    Attributes:
        call: of many calls, which, counted from 0; ``None``: there was one.
    """

    def __init__(self, *, task: str, size: int, limit: int, call: int | None = None) -> None:
        self.task, self.size, self.limit, self.call = task, size, limit, call
        whose = "its arguments" if call is None else f"the arguments of calls[{call}]"
        super().__init__(
            f"Task '{task}' was not launched: {whose} take {size} bytes, the limit is {limit}. Store "
            f"the data elsewhere and launch with a reference to it, or raise Kapusta(max_payload_bytes=...)."
        )


class UnreadablePayloadError(KapustaError):
    """Stored arguments that this worker cannot turn back into a call."""

    def __init__(
        self,
        *,
        task: str,
        problem: str,
        remedy: str = "Is another version of the function running elsewhere?",
    ) -> None:
        self.task, self.problem, self.remedy = task, problem, remedy
        super().__init__(f"The stored arguments of task '{task}' cannot be read here: {problem}. {remedy}")


class ResultEncodingError(KapustaError):
    """A function returned what cannot be stored; its work is done all the same.

    Attributes:
        done: whether it was returned; not what a body gave to ``finish_within()``.
    """

    def __init__(self, *, task: str, problem: str, done: bool = True) -> None:
        self.task, self.problem, self.done = task, problem, done
        super().__init__(
            f"The body of task '{task}' ran to its end, but its result was not stored: {problem}. "
            f"Return something smaller or simpler; launching again would do the work again."
            if done
            else f"The body of task '{task}' cannot finish with this result: {problem}. Nothing was written; give "
            f"finish_within() something smaller or simpler."
        )
