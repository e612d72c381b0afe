"""What a launch says while the store is away, and what it has done when only the answer was lost."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import make_url

from kapusta import Kapusta, LaunchUnknownError, Task, TaskStatus
from kapusta.backend import TaskQuery
from tests.outages.conftest import MakeKapusta, Network, OpenStore
from tests.sqlalchemy.records import claim, new, settled
from tests.worker.eventually import eventually

NAME = "a name that is seen on the wire"
TIMEOUT = 1.0
OPENING = 5.0
"""How long a driver may take to open a connection, of which the last was begun before the deadline."""


async def _launching(network: Network, make_kapusta: MakeKapusta) -> tuple[Kapusta, Task[..., Any]]:
    """A Kapusta that launches and runs nothing, and a task of it."""
    kapusta = make_kapusta(network.url, store_timeout=TIMEOUT)
    task = kapusta.register_task(lambda: "ran", name=NAME)
    await kapusta.crud.startup()
    await task.launch(update_params={"eta_delta": timedelta(hours=1)})  # there is a connection
    return kapusta, task


@pytest.mark.parametrize("is_silent", [False, True], ids=["refused", "black hole"])
async def test_a_launch_without_a_store_raises_one_error_in_time_and_can_be_repeated(
    network: Network, make_kapusta: MakeKapusta, is_silent: bool
) -> None:
    """Refused or swallowed: within its deadline and five seconds a launch says that it does not know; again, it is one task."""
    kapusta, task = await _launching(network, make_kapusta)
    if is_silent:
        network.proxy.hold()
    else:
        await network.proxy.cut()

    began = time.monotonic()
    with pytest.raises(LaunchUnknownError, match=r"Whether the launch of .* is unknown") as caught:
        await task.launch()
    took = time.monotonic() - began
    network.proxy.flow()
    await network.proxy.accept()
    first = await caught.value.launch_again()
    second = await caught.value.launch_again()

    assert took < TIMEOUT + OPENING + 1
    assert (int(first),) == (int(second),) == caught.value.task_ids
    assert len(await kapusta.crud.find_tasks(TaskQuery(limit=100))) == 2


async def test_a_launch_whose_answer_is_lost_is_one_task(network: Network, make_kapusta: MakeKapusta) -> None:
    """The store has done it, and the network has swallowed the answer: it is repeated by itself, and nobody notices."""
    kapusta, task = await _launching(network, make_kapusta)

    lost = network.proxy.lose_reply(_as_sent(network, NAME))
    handle = await task.launch()

    assert lost.is_set(), "the answer to another statement was lost"
    found = await kapusta.crud.find_tasks(TaskQuery(limit=100))
    assert [one.id for one in found][1:] == [int(handle)]


async def test_an_outcome_whose_answer_is_lost_is_one_outcome(
    network: Network, open_store: OpenStore
) -> None:
    """Repeated, it is `already` there; a repeat with something else to say changes nothing."""
    store = await open_store(network.url)
    await store.add_tasks([new()])
    [task] = (await store.claim_tasks(claim())).tasks

    lost = network.proxy.lose_reply(_as_sent(network, "the first"))
    with pytest.raises(ConnectionError):
        await store.change_tasks([settled(task, result=b"the first")])
    [again] = await store.change_tasks([settled(task, result=b"the first")])
    [other] = await store.change_tasks([settled(task, status=TaskStatus.error, result=None)])
    [found] = await store.find_tasks(TaskQuery())

    assert lost.is_set()
    assert (again.answer, other.answer, found.status, found.result) == (
        "already",
        "already",
        "success",
        b"the first",
    )


async def test_a_claim_whose_answer_is_lost_is_given_back(
    network: Network, make_kapusta: MakeKapusta
) -> None:
    """A worker that never heard what it was given looks for it, and the task runs, without a wait for the lease."""
    worker, elsewhere = make_kapusta(network.url, store_timeout=TIMEOUT), make_kapusta(network.direct)
    ran: list[int] = []
    worker.register_task(lambda: ran.append(1), name=NAME)
    task = elsewhere.register_task(lambda: None, name=NAME)
    await elsewhere.crud.startup()
    await task.launch()
    await worker.crud.startup()
    worker.create_listening_task()
    assert worker._host._worker is not None
    lost = network.proxy.lose_reply(_as_sent(network, worker._host._worker.id))

    [found] = await eventually(lambda: _ended(elsewhere), "it has run", within=15)

    assert lost.is_set()
    assert (ran, found.crashes, found.run) == ([1], 0, 2)


async def _ended(kapusta: Kapusta) -> Any:
    return await kapusta.crud.find_tasks(TaskQuery(statuses=frozenset({TaskStatus.success})))


def _as_sent(network: Network, word: str) -> bytes:
    """A value as a driver sends it: in its own bytes, or, by our dialect of MySQL, in hexadecimal."""
    is_postgresql = make_url(network.url).get_backend_name() == "postgresql"
    return word.encode() if is_postgresql else word.encode().hex().encode()
