"""A call against a signature: how it becomes bytes, and bytes a call."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec

from ._codec import Codec
from ._errors import ArgumentError, ResultUnreadableError, TaskSignatureError, UnreadablePayloadError

RESERVED: Final = "update_params"
"""The keyword that ``launch`` keeps for itself."""

_ANNOTATE = "Annotate the parameter with the type that it should arrive as."


class Arguments:
    """The parameters of one function; built once, its decoders when they are first needed.

    A call is stored by parameter name, so that parameters may be reordered, and new ones with a default
    added, while tasks wait.
    """

    def __init__(self, task: str, function: Callable[..., Any], codec: Codec) -> None:
        self._task, self._function, self._codec = task, function, codec
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
            raise TaskSignatureError(
                task=task,
                problem="is a generator function, whose body calling it would not run",
                remedy="Let it return a list, or loop inside the task.",
            )
        try:
            self._signature = inspect.signature(function)
        except (TypeError, ValueError) as problem:
            raise TaskSignatureError(
                task=task,
                problem=f"has no signature to check calls against ({problem})",
                remedy="Wrap it in a `def`.",
            ) from problem
        if RESERVED in self._signature.parameters:
            raise TaskSignatureError(
                task=task,
                problem=f"has a parameter named '{RESERVED}', which launch() keeps for itself",
                remedy="Rename the parameter.",
            )
        self._decoders: dict[str, Callable[[bytes], Any]] | None = None
        self._result: Callable[[bytes], Any] | None = None

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """A call as bytes that `decode` can read: what arrives is checked before it is sent.

        Raises:
            ArgumentError: an argument is missing, surplus, or cannot be stored.
        """
        try:
            bound = self._signature.bind(*args, **kwargs).arguments
        except TypeError as problem:
            raise ArgumentError(
                task=self._task,
                parameter=None,
                problem=str(problem),
                remedy=f"The function takes {self._signature}.",
            ) from None
        if not bound:
            return b"{}"
        decoders = self._ready_decoders()
        parts = {name: self._part(name, value, decoders[name]) for name, value in bound.items()}
        return msgspec.json.encode(parts)

    def decode(self, payload: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The call that was stored, as positional and keyword arguments.

        Raises:
            UnreadablePayloadError: it does not fit the function any more, or was never a call.
        """
        if payload == b"{}" and not self._signature.parameters:
            return (), {}
        try:
            parts = msgspec.json.decode(payload, type=dict[str, msgspec.Raw])
            decoders = self._ready_decoders()
            arguments = {name: decoders[name](bytes(part)) for name, part in parts.items()}
            bound = inspect.BoundArguments(self._signature, arguments)
            bound.apply_defaults()  # or a parameter that came later, with a default, would cut off what follows it
            self._signature.bind(*bound.args, **bound.kwargs)
        except KeyError as surplus:
            raise UnreadablePayloadError(
                task=self._task, problem=f"there is no parameter {surplus}"
            ) from None
        except (ArgumentError, TypeError, ValueError) as problem:
            raise UnreadablePayloadError(task=self._task, problem=str(problem)) from problem
        return bound.args, bound.kwargs

    def decode_result(self, data: bytes) -> Any:
        """A stored result as the function's return annotation says.

        Raises:
            ResultUnreadableError: it is something else.
        """
        try:
            if self._result is None:
                self._result = self._decoder_of("return", self._hints().get("return", Any))
            return self._result(data)
        except ArgumentError as problem:
            raise ResultUnreadableError(task=self._task, problem=problem.problem) from problem
        except ValueError as problem:
            raise ResultUnreadableError(task=self._task, problem=str(problem)) from problem

    def _part(self, name: str, value: Any, decode: Callable[[bytes], Any]) -> msgspec.Raw:
        try:
            part = self._codec.encode(value)
        except ValueError as problem:
            raise ArgumentError(
                task=self._task,
                parameter=name,
                problem=str(problem),
                remedy="Pass plain data, or an id to load by.",
            ) from problem
        try:
            arrives = decode(part)
        except ValueError as problem:
            raise ArgumentError(
                task=self._task,
                parameter=name,
                problem=f"{value!r} does not fit its annotation: {problem}",
                remedy="Pass what the annotation says, or mend the annotation.",
            ) from problem
        if not _same(value, arrives):
            raise ArgumentError(
                task=self._task,
                parameter=name,
                problem=f"{value!r} would arrive as {arrives!r}",
                remedy=_ANNOTATE,
            )
        return msgspec.Raw(part)

    def _ready_decoders(self) -> dict[str, Callable[[bytes], Any]]:
        if self._decoders is None:
            hints = self._hints()
            self._decoders = {
                name: self._decoder_of(name, _shape(parameter, hints.get(name, Any)))
                for name, parameter in self._signature.parameters.items()
            }
        return self._decoders

    def _decoder_of(self, name: str, shape: Any) -> Callable[[bytes], Any]:
        try:
            return self._codec.decoder(shape)
        except ValueError as problem:
            raise ArgumentError(
                task=self._task, parameter=name, problem=str(problem), remedy="Annotate it with plain data."
            ) from problem

    def _hints(self) -> dict[str, Any]:
        function = inspect.unwrap(self._function)
        try:
            return typing.get_type_hints(function, include_extras=True)
        except (NameError, TypeError, AttributeError) as problem:
            raise ArgumentError(
                task=self._task,
                parameter=None,
                problem=f"an annotation of the function cannot be resolved ({problem})",
                remedy="Import the type at run time, not only under TYPE_CHECKING.",
            ) from problem


def _shape(parameter: inspect.Parameter, annotation: Any) -> Any:
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return tuple[annotation, ...]
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        return dict[str, annotation]
    return annotation


def _same(sent: Any, arrives: Any) -> bool:
    """Whether what arrives is what was sent; a tuple that arrives as a list counts as the same."""
    if isinstance(sent, (list, tuple)) and isinstance(arrives, (list, tuple)):
        return len(sent) == len(arrives) and all(map(_same, sent, arrives))
    if isinstance(sent, dict) and isinstance(arrives, dict):
        return sent.keys() == arrives.keys() and all(_same(sent[key], arrives[key]) for key in sent)
    if bool(sent == arrives):
        return True
    if type(sent) is not type(arrives) or isinstance(sent, (str, int, float)):
        return False
    names = _field_names(type(sent))
    if not names:  # without equality, an object is taken at its annotation's word; NaN is not equal to itself
        equality: object = type(sent).__eq__
        return equality is object.__eq__ or bool(sent != sent)  # noqa: PLR0124 - as said
    return all(_same(getattr(sent, name, None), getattr(arrives, name, None)) for name in names)


def _field_names(kind: type[Any]) -> Sequence[str]:
    """The fields of a msgspec, dataclass, attrs or pydantic class; none of any other."""
    if hasattr(kind, "__attrs_attrs__"):
        return [field.name for field in kind.__attrs_attrs__]
    for fields in ("__struct_fields__", "__dataclass_fields__", "__pydantic_fields__"):
        if hasattr(kind, fields):
            return list(getattr(kind, fields))
    return ()
