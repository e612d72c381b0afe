"""Names, queues, keys, workers and payloads are values to a database, whatever they look like."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from kapusta import Kapusta
from kapusta.backend import (
    Change,
    ClaimRequest,
    Guard,
    NewTask,
    Renewal,
    RenewRequest,
    TaskExecutionMode,
    TaskQuery,
    TaskStatus,
    UniqueKey,
)
from kapusta_sqlalchemy import AlchemyCRUD

NASTY = {
    "a quote": "'",
    "two quotes": "''",
    "a double quote": '"',
    "a backtick": "`",
    "a backslash": "\\",
    "an escaped quote": "\\'; DROP TABLE kapusta_task; -- ",
    "drop": "'; DROP TABLE kapusta_task; --",
    "drop, double": '"; DROP TABLE kapusta_task; --',
    "drop, backtick": "`; DROP TABLE kapusta_task; #",
    "a truth": "' OR '1'='1",
    "a truth without quotes": "1 OR 1=1",
    "a union": "x' UNION SELECT name FROM kapusta_task --",
    "a comment": "/* x */ -- #",
    "an open comment": "/*! 50000",
    "parameters": ":name %s %(name)s ? $1 {name} {0} {{",
    "a percent sign": "100%",
    "patterns": "_%[a-z]*",
    "a dollar quote": "$$; DROP TABLE kapusta_task; $$ $tag$",
    "an array": "{a,b,NULL}",
    "a quoted array": '{"a\\",b"}',
    "NULL": "NULL",
    "a unicode escape": "U&'\\0027' \\u0027 \\x27",
    "a wide quote": "\uff07 \u02bc \u2019 \xbf\x27",
    "lines": "a\nb\r\nc\td",
    "control characters": "\x01\x08\x1a\x1b\x7f",
    "an emoji": "🥬'",
    "other directions": "\u202e'\u200b;",
    "JSON": '{"a": "b\'"}',
    "spaces": " '  ",
    "at length": "'" * 255,
}
PIECES = [
    "'",
    '"',
    "`",
    "\\",
    ";",
    "--",
    "#",
    "/*",
    "*/",
    " ",
    "%",
    "_",
    "$",
    "?",
    ":",
    "{",
    "}",
    "é",
    "DROP",
    "OR 1=1",
    "x",
]
MIXED = {
    f"mixed {number}": "".join(chance.choices(PIECES, k=chance.randint(1, 20)))
    for chance in [random.Random(7)]
    for number in range(100)
}
TEXTS = list(dict.fromkeys([*NASTY.values(), *MIXED.values()]))
LEASE = timedelta(hours=1)


@pytest.fixture(params=["sqlite", "postgresql", "mysql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database of each kind."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'tasks.db'}"
    found: str = request.getfixturevalue("postgres_url" if request.param == "postgresql" else "mysql_url")
    return found


@pytest.fixture
async def store(url: str) -> AsyncIterator[AlchemyCRUD]:
    """A started handle to it."""
    crud = AlchemyCRUD(url)
    await crud.startup()
    yield crud
    await crud.shutdown()


def task_of(number: int, text: str) -> NewTask:
    """A task that says *text* wherever it may say something."""
    return NewTask(
        id=number,
        token=text[:64],
        name=text,
        payload=text.encode(),
        codec=text[:64],
        queue=text,
        options=text.encode(),
        unique=UniqueKey(key=text),
    )


async def test_what_looks_like_sql_is_stored_and_read_back(store: AlchemyCRUD) -> None:
    """Each text in each place that takes one, through a task's whole life: it comes back as it was, and does nothing."""
    neighbour = NewTask(id=999_999, token="neighbour", name="neighbour", payload=b"7", queue="neighbours")
    await store.add_tasks([neighbour])
    await store.add_tasks([task_of(number, text) for number, text in enumerate(TEXTS, start=1)])

    for number, text in enumerate(TEXTS, start=1):
        query = TaskQuery(names=frozenset({text}), queues=frozenset({text}))
        (again,) = await store.add_tasks([task_of(number + 10_000, text)])  # its key is in use
        (found,) = await store.find_tasks(query)
        claims = await store.claim_tasks(
            ClaimRequest(
                worker=text,
                lease=LEASE,
                slots=dict.fromkeys(TaskExecutionMode, 10),
                names=frozenset({text}),
                queues=frozenset({text}),
            )
        )
        (claimed,) = claims.tasks
        renewed = await store.renew_leases(
            RenewRequest(worker=text, lease=LEASE, renewals=[Renewal(id=number, run=claimed.run)])
        )
        (changed,) = await store.change_tasks(
            [
                Change(
                    id=number,
                    run=claimed.run,
                    guard=Guard.holder,
                    worker=text,
                    status=TaskStatus.error,
                    result=text.encode(),
                    error=text,
                    reason=text,
                )
            ]
        )
        (ended,) = await store.find_tasks(query)

        assert (again.id, again.outcome.value) == (number, "key_in_use"), text
        assert (found.id, claimed.id, claimed.worker) == (number, number, text)
        assert renewed[0].answer.value == "renewed", text
        assert changed.answer.value == "accepted", text
        for task in (found, claimed, ended):
            assert (task.name, task.queue, task.token, task.codec) == (text, text, text[:64], text[:64])
            assert (task.payload, task.options) == (text.encode(), text.encode())
        assert (ended.error, ended.reason, ended.result) == (text, text, text.encode())

    (left,) = await store.find_tasks(TaskQuery(names=frozenset({"neighbour"})))
    assert (left.status, left.run, left.payload) == (TaskStatus.pending, 0, b"7")
    assert len(await store.find_tasks(TaskQuery(limit=1000))) == len(TEXTS) + 1
    assert await store.delete_tasks(range(1, len(TEXTS) + 1)) == len(TEXTS)


async def test_a_task_of_any_name_runs_and_gives_back_what_it_got(url: str) -> None:
    """From `launch` to `result`, by the names, arguments, results and errors of an application."""
    kapusta = Kapusta(AlchemyCRUD(url))
    tasks = {text: kapusta.register_task(give_back, name=text) for text in NASTY.values()}

    async with kapusta:
        handles = {text: await task.launch(text) for text, task in tasks.items()}
        results = {text: await handle.result(timeout=60) for text, handle in handles.items()}

    assert results == {text: text for text in tasks}


def give_back(text: str) -> str:
    """Return what was passed."""
    return text


@pytest.mark.parametrize("prefix", ['a"b_', "a'b_", "a`b_", "a b;--_", "a%b:c_"])
async def test_even_the_prefix_of_the_tables_is_a_name(url: str, prefix: str) -> None:
    """It is the application author's, and may look odd; it is quoted all the same, and its tables are its own."""
    plain, odd = AlchemyCRUD(url), AlchemyCRUD(url, table_prefix=prefix)
    for crud in (plain, odd):
        await crud.startup()
    await plain.add_tasks([NewTask(id=1, token="t", name="t", payload=b"{}")])

    assert len(await plain.find_tasks(TaskQuery())) == 1
    assert await odd.find_tasks(TaskQuery()) == []
    for crud in (plain, odd):
        await crud.shutdown()
