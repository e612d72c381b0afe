"""More bad input, as a table: what is no function, no id, no list of calls."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from kapusta import ArgumentError, Kapusta, KapustaValueError, PayloadTooLargeError
from tests.core.bad_input import BOTH, LIMIT, Row


def many(calls: Any) -> Any:
    """Launch these."""
    return lambda scene: scene.pay.launch_many(calls)


def ids() -> Iterator[Row]:
    """Wherever an id is taken, what is none."""
    wrong: list[Any] = [None, "x", "7", True, 7.0, [7]]
    for value in wrong:
        words = (f"task_id={value!r} is no task id", "Give the number that launch() answered")
        yield Row(f"handle({value!r})", lambda s, it=value: s.kapusta.handle(it), KapustaValueError, words)  # type: ignore[misc]  # bound now
        yield Row(
            f"get_task_status({value!r})",
            lambda s, it=value: s.kapusta.get_task_status(it),
            KapustaValueError,
            words,
        )  # type: ignore[misc]  # bound now
        yield Row(
            f"get_task_result({value!r})",
            lambda s, it=value: s.kapusta.get_task_result(it),
            KapustaValueError,
            words,
        )  # type: ignore[misc]  # bound now


CALLS: Final = ("Task 'pay' was not launched", 'Write [{"order_id": 7}, {"order_id": 8}]')

TABLE: Final = [
    Row("one of many with a surplus argument", many([{"amount": 1}, {"colour": "red"}]), ArgumentError,
        ("Task 'pay' was not launched: calls[1], the arguments: got an unexpected keyword argument 'colour'. The function takes (",),
        BOTH),
    Row("one of many with an argument that does not fit", many([{"amount": 1}, {"amount": 2}, {"amount": "7"}]), ArgumentError,
        ("was not launched: calls[2], argument 'amount': '7' does not fit its annotation",)),
    Row("one of many over the limit", many([{"note": "x" * LIMIT}, {}]), PayloadTooLargeError,
        ("Task 'pay' was not launched: the arguments of calls[0] take 1011 bytes, the limit is 1000",)),
    Row("one of many that is no mapping", many([{"amount": 1}, 7]), ArgumentError, ("calls[1], the arguments: of type int, where a mapping should be", *CALLS)),
    Row("one of many that is nothing", many([None]), ArgumentError, ("calls[0], the arguments: of type NoneType, where a mapping should be", *CALLS)),
    Row("one of many without names", many([[7]]), ArgumentError, ("calls[0], the arguments: of type list, where a mapping should be", *CALLS)),
    Row("many that are one", many({"amount": 7}), ArgumentError, ("was not launched: the arguments: of type dict, where a list of mappings should be", *CALLS)),
    Row("many that are none", many(7), ArgumentError, ("was not launched: the arguments: of type int, where a list of mappings should be", *CALLS)),
    Row("many that are text", many("seven"), ArgumentError, ("was not launched: the arguments: of type str, where a list of mappings should be", *CALLS)),
    Row("a task of no function", lambda s: s.kapusta.register_task(5), KapustaValueError,  # type: ignore[call-overload]  # the mistake
        ("func=5 is no function", "Give a function, with `def` or `async def`")),
    Row("a task of no function, with a name", lambda s: s.kapusta.register_task(None, name="new"), KapustaValueError,  # type: ignore[call-overload]  # the mistake
        ("func=None is no function",)),
    Row("a task of no function, by the decorator", lambda s: s.kapusta.task()("pay"), KapustaValueError,  # type: ignore[call-overload]  # the mistake
        ("func='pay' is no function",)),
    Row("a task of a task", lambda s: s.kapusta.register_task(s.pay), KapustaValueError,
        ("func=<Task 'pay' (sync)> is a task already", "Register its function, task.func, under another name=")),
    *ids(),
    Row("a logger that is none", lambda s: Kapusta(s.crud, logger="shop"), KapustaValueError,  # type: ignore[arg-type]  # the mistake
        ("logger='shop' is no logger", 'logging.getLogger("shop")')),
    Row("a logger that is empty", lambda s: Kapusta(s.crud, logger=""), KapustaValueError,  # type: ignore[arg-type]  # the mistake
        ("logger='' is no logger",)),
    Row("an environment that is none", lambda s: Kapusta(s.crud, process_environment=["A=secret"]), KapustaValueError,  # type: ignore[arg-type]  # the mistake
        ("process_environment=<class 'list'> is no mapping", 'Write {"LANG": "C"}')),
    Row("an environment of numbers", lambda s: Kapusta(s.crud, process_environment={"A": 1}), KapustaValueError,  # type: ignore[dict-item]  # the mistake
        ("process_environment['A']=<class 'int'> is no text", 'Write {"LANG": "C"}')),
    Row("an environment of names that are none", lambda s: Kapusta(s.crud, process_environment={7: "secret"}), KapustaValueError,  # type: ignore[dict-item]  # the mistake
        ("process_environment[7]=", "has no name that a variable can have")),
    Row("an environment with a sign in a name", lambda s: Kapusta(s.crud, process_environment={"A=B": "secret"}), KapustaValueError,
        ("process_environment['A=B']=<class 'str'> has no name that a variable can have",)),
    Row("an environment with NUL", lambda s: Kapusta(s.crud, process_environment={"A": "secret\0"}), KapustaValueError,
        ("process_environment['A']=<class 'str'> holds NUL",)),
]  # fmt: skip
