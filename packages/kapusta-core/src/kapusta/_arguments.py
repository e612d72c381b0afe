"""A call against a signature: how it becomes bytes, and bytes a call."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, Final, NamedTuple

from ._brief import brief, cut, said
from ._codec import Codec, Codecs, ForeignBytesError, Label, Role
from ._errors import ArgumentError, ResultUnreadableError, TaskSignatureError, UnreadablePayloadError
from ._hints import hints_of
from ._signature import PlainSignature

RESERVED: Final = "update_params"
"""The keyword that ``launch`` keeps for itself."""

_ANNOTATE = "Annotate the parameter with the type that it should arrive as."


_PLAIN: Final = frozenset({type(None), bool, int, float, str})
"""The types that arrive as they were sent, except a float that is not finite."""

_SHORT: Final = 100
"""How many characters of a value the reason of a task shows."""


class _ResultReader(NamedTuple):
    """How results are read; those of *plain* types need not be compared."""

    decode: Callable[[bytes], Any]
    plain: frozenset[type[Any]]


class Arguments:
    """The parameters of one function; built once, its decoders when they are first needed.

    A call is stored by parameter name, so that parameters may be reordered, and new ones with a default
    added, while tasks wait.
    """

    def __init__(self, task: str, function: Callable[..., Any], codecs: Codecs) -> None:
        self._task, self._function, self._codecs = task, function, codecs
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
        self._plain = PlainSignature.of(self._signature)
        self._decoders: dict[str, dict[str, Callable[[bytes], Any]]] = {}
        self._results: dict[str, _ResultReader] = {}

    @property
    def written_by(self) -> str:
        """The name of the codec that `encode` uses."""
        return self._codecs.writer.name

    def encode(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bytes:
        """A call as bytes that `decode` can read: what arrives is checked before it is sent.

        Raises:
            ArgumentError: an argument is missing, surplus, or cannot be stored.
        """
        try:
            bound = self._plain.bind(kwargs) if self._plain is not None and not args else None
            if bound is None:
                bound = self._signature.bind(*args, **kwargs).arguments
        except TypeError as problem:
            raise ArgumentError(
                task=self._task,
                parameter=None,
                problem=str(problem),
                remedy=f"The function takes {self._signature}.",
            ) from None
        codec = self._codecs.writer
        decoders = self._ready_decoders(codec) if bound else {}
        parts = {name: self._part(codec, name, value, decoders[name]) for name, value in bound.items()}
        return codec.seal(codec.pack(parts), Label(self._task, Role.arguments))

    def decode(self, payload: bytes, *, codec: str, stored_as: str) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The call that was stored, as positional and keyword arguments.

        Args:
            payload: what is stored of it.
            codec: the name of the codec that wrote it.
            stored_as: the name that the task is stored under; it may be an alias.

        Raises:
            UnreadablePayloadError: it does not fit the function any more, was never a call, or is not for us.
        """
        try:
            reader = self._codecs.named(codec)
            parts = reader.unpack(reader.unseal(payload, Label(stored_as, Role.arguments)))
            decoders = self._ready_decoders(reader) if parts else {}
            arguments = {name: decoders[name](part) for name, part in parts.items()}
            call = None if self._plain is None else self._plain.call(arguments)
            if call is not None:
                return call
            bound = inspect.BoundArguments(self._signature, arguments)
            bound.apply_defaults()  # or a parameter that came later, with a default, would cut off what follows it
            self._signature.bind(*bound.args, **bound.kwargs)
        except KeyError as surplus:
            problem_of_name = f"there is no parameter {brief(surplus.args[0])}"
            raise UnreadablePayloadError(task=self._task, problem=problem_of_name) from None
        except ForeignBytesError as problem:
            raise UnreadablePayloadError(
                task=self._task, problem=problem.problem, remedy=problem.remedy
            ) from problem
        except (ArgumentError, TypeError, ValueError) as problem:
            raise UnreadablePayloadError(task=self._task, problem=said(problem)) from problem
        return bound.args, bound.kwargs

    def decode_result(self, data: bytes, *, codec: str, stored_as: str) -> Any:
        """A stored result as the function's return annotation says; see `decode`.

        Raises:
            ResultUnreadableError: it is something else, or not for us.
        """

        def decoder(reader: Codec) -> Callable[[bytes], Any]:
            return self._result_reader(reader).decode

        return _result(self._codecs, decoder, data, codec=codec, stored_as=stored_as)

    def result_problem(self, codec: Codec, value: object, body: bytes) -> str | None:
        """Return how *body*, the encoded result *value*, would arrive as something else; ``None`` if it would not."""
        if codec.keeps_types:
            return None
        try:
            reader = self._results.get(codec.name) or self._result_reader(codec)
            kind = type(value)
            if kind in reader.plain and (kind is not float or isfinite(value)):  # type: ignore[arg-type]  # a float
                return None
            arrives = reader.decode(body)
        except ArgumentError as problem:
            return f"its result cannot be read: {problem.problem}"
        except ValueError as problem:
            return f"its result {brief(value, _SHORT)} does not fit the return annotation: {problem}"
        return _result_difference(value, arrives)

    def _result_reader(self, codec: Codec) -> _ResultReader:
        if codec.name not in self._results:
            shape = self._hints(codec, only="return").get("return", Any)
            if shape in (typing.NoReturn, typing.Never):
                shape = Any  # what returns all the same returns something
            decode = self._decoder_of(codec, "return", shape)
            self._results[codec.name] = _ResultReader(decode, _plain_kinds(shape))
        return self._results[codec.name]

    def _part(self, codec: Codec, name: str, value: Any, decode: Callable[[bytes], Any]) -> bytes:
        try:
            part = codec.encode(value)
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
                problem=f"{brief(value)} does not fit its annotation: {problem}",
                remedy="Pass what the annotation says, or mend the annotation.",
            ) from problem
        if not codec.keeps_types and (other := _difference(value, arrives)):
            raise ArgumentError(
                task=self._task, parameter=name, problem=f"{brief(value)} {other}", remedy=_ANNOTATE
            )
        return part

    def _ready_decoders(self, codec: Codec) -> dict[str, Callable[[bytes], Any]]:
        if codec.name not in self._decoders:
            hints = self._hints(codec)
            self._decoders[codec.name] = {
                name: self._decoder_of(codec, name, _shape(parameter, hints.get(name, Any)))
                for name, parameter in self._signature.parameters.items()
            }
        return self._decoders[codec.name]

    def _decoder_of(self, codec: Codec, name: str, shape: Any) -> Callable[[bytes], Any]:
        try:
            return codec.decoder(shape)
        except ValueError as problem:
            raise ArgumentError(
                task=self._task, parameter=name, problem=str(problem), remedy="Annotate it with plain data."
            ) from problem

    def _hints(self, codec: Codec, only: str | None = None) -> dict[str, Any]:
        if codec.keeps_types:
            return {}
        try:
            return hints_of(self._function, only)
        except ValueError as problem:
            raise ArgumentError(
                task=self._task,
                parameter=None,
                problem=str(problem),
                remedy="Import the type at run time, not only under TYPE_CHECKING.",
            ) from problem


def decode_unknown(codecs: Codecs, data: bytes, *, codec: str, stored_as: str) -> Any:
    """The stored result of a function that is not known here; see `Arguments.decode_result`."""
    return _result(codecs, lambda reader: reader.decoder(Any), data, codec=codec, stored_as=stored_as)


def _result(
    codecs: Codecs,
    decoder: Callable[[Codec], Callable[[bytes], Any]],
    data: bytes,
    *,
    codec: str,
    stored_as: str,
) -> Any:
    try:
        reader = codecs.named(codec)
        body = reader.unseal(data, Label(stored_as, Role.result))
        return decoder(reader)(body)
    except ForeignBytesError as problem:
        raise ResultUnreadableError(
            task=stored_as, problem=problem.problem, remedy=problem.remedy
        ) from problem
    except ArgumentError as problem:
        raise ResultUnreadableError(task=stored_as, problem=problem.problem) from problem
    except ValueError as problem:
        raise ResultUnreadableError(task=stored_as, problem=said(problem)) from problem


def _shape(parameter: inspect.Parameter, annotation: Any) -> Any:
    if parameter.kind is inspect.Parameter.VAR_POSITIONAL:
        return tuple[annotation, ...]
    if parameter.kind is inspect.Parameter.VAR_KEYWORD:
        return dict[str, annotation]
    return annotation


def _difference(sent: Any, arrives: Any) -> str | None:
    """How what arrives is not what was sent, in words; ``None`` if it is."""
    try:
        return None if _same(sent, arrives) else f"would arrive as {brief(arrives)}"
    except Exception as problem:  # noqa: BLE001 - a value's own code compares it
        return f"cannot be compared with what would arrive: {said(problem)}"


def _result_difference(sent: Any, arrives: Any) -> str | None:
    try:
        if _same(sent, arrives):
            return None
        where, sent, arrives = _innermost(sent, arrives, "")
    except Exception as problem:  # noqa: BLE001 - a value's own code compares it
        return f"its result cannot be compared with what would arrive: {said(problem)}"
    place = f" at {cut(where, _SHORT)}" if where else ""
    return f"its result would arrive changed:{place} {brief(sent, _SHORT)} as {brief(arrives, _SHORT)}"


def _innermost(sent: Any, arrives: Any, where: str) -> tuple[str, Any, Any]:
    """Return the smallest part that differs, after the way to it."""
    parts: Iterable[tuple[str, Any, Any]] = ()
    if isinstance(sent, (list, tuple)) and isinstance(arrives, (list, tuple)) and len(sent) == len(arrives):
        parts = ((f"[{at}]", *pair) for at, pair in enumerate(zip(sent, arrives, strict=True)))
    elif isinstance(sent, dict) and isinstance(arrives, dict) and sent.keys() == arrives.keys():
        parts = ((f"[{key!r}]", sent[key], arrives[key]) for key in sent)
    elif type(sent) is type(arrives):
        names = _field_names(type(sent))
        parts = ((f".{name}", getattr(sent, name, None), getattr(arrives, name, None)) for name in names)
    for step, one, other in parts:
        if not _same(one, other):
            return _innermost(one, other, where + step)
    return where, sent, arrives


def _plain_kinds(shape: Any) -> frozenset[type[Any]]:
    """Return the plain types whose values arrive as they were sent where *shape* is the annotation."""
    if shape is Any or shape is object:
        return _PLAIN
    is_union = typing.get_origin(shape) in (typing.Union, types.UnionType)
    kinds = frozenset(typing.get_args(shape) if is_union else (shape,))
    return kinds if kinds <= _PLAIN else frozenset()


def _same(sent: Any, arrives: Any) -> bool:
    """Whether what arrives is what was sent; a tuple that arrives as a list counts as the same."""
    if bool(sent == arrives):  # most are, also lists and dictionaries as a whole, which are compared in C
        return True
    if isinstance(sent, (list, tuple)) and isinstance(arrives, (list, tuple)):
        return len(sent) == len(arrives) and all(map(_same, sent, arrives))
    if isinstance(sent, dict) and isinstance(arrives, dict):
        return sent.keys() == arrives.keys() and all(_same(sent[key], arrives[key]) for key in sent)
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
