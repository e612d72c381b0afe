"""What is pickled from launch to result, in every mode, beside workers and launchers that have no secret."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from kapusta import (
    Kapusta,
    PickleCodec,
    ResultEncodingError,
    ResultNotStoredError,
    ResultUnreadableError,
    TaskStatus,
)
from kapusta._executors._children import Child
from kapusta._executors._messages import Answer, Job
from kapusta._naming import ImportPath
from kapusta.testing import ManualClock
from tests.security import bodies
from tests.security.bombs import OLD_SECRET, SECRET, Order, bomb_call
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.stored import stored

ORDER = Order(7, {1j, 2})


def double(order):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN201 - pickle needs no annotation
    """Return what JSON would have changed."""
    return (order, {order.number: None})


@pytest.mark.parametrize("mode", ["sync", "thread", "async_"])
async def test_an_object_goes_in_and_comes_out(
    open_store: OpenStore, make_kapusta: MakeKapusta, mode: str
) -> None:
    """Arguments and result are what they were, with no annotation; by the handle, and by the id."""
    clock = ManualClock()
    kapusta = make_kapusta(open_store(clock), codec=PickleCodec(secret=SECRET))

    async def later(order: Order) -> Any:
        return double(order)

    task = kapusta.register_task(later if mode == "async_" else double, mode, timeout=None)
    await kapusta.startup()

    handle = await task.launch(order=ORDER)
    await kapusta.run_until_idle()

    assert (await stored(kapusta, handle)).codec == "pickle"
    assert await handle.result(timeout=0) == (ORDER, {7: None})
    assert await kapusta.get_task_result(int(handle)) == (ORDER, {7: None})


async def test_an_alias_reads_what_was_signed_under_the_old_name(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A task is renamed while calls of it wait: they are for the name that they are stored under."""
    clock = ManualClock()
    before = make_kapusta(open_store(clock), codec=PickleCodec(secret=SECRET))
    after = make_kapusta(open_store(clock), codec=PickleCodec(secret=SECRET))
    old = before.register_task(double, name="old")
    after.register_task(double, name="new", aliases=["old"])
    await before.crud.startup()
    handle = await old.launch(ORDER)

    await after.startup()
    await clock.advance(seconds=30)

    assert await handle.result(timeout=0) == (ORDER, {7: None})
    assert await after.get_task_result(handle) == (ORDER, {7: None})


async def test_a_new_secret_takes_over_while_tasks_wait(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """The worker that has both runs what the old one signed; its answer is the new one's."""
    clock = ManualClock()
    old = make_kapusta(open_store(clock), codec=PickleCodec(secret=OLD_SECRET))
    both = make_kapusta(open_store(clock), codec=PickleCodec(secret=[SECRET, OLD_SECRET]))
    task = old.register_task(double, name="double")
    both.register_task(double, name="double")
    await old.crud.startup()
    handle = await task.launch(ORDER)

    await both.startup()
    await clock.advance(seconds=30)

    assert await both.get_task_result(handle) == (ORDER, {7: None})
    with pytest.raises(ResultUnreadableError, match="no secret that was given here"):
        await handle.result(timeout=0)


async def test_a_call_in_json_has_its_result_in_json(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A worker that has a secret runs what launchers without one ask for, and they can read the answer."""
    clock = ManualClock()
    plain = make_kapusta(open_store(clock))
    pickling = make_kapusta(open_store(clock), codec=PickleCodec(secret=SECRET))
    task = plain.register_task(lambda numbers: sum(numbers, 1), name="sum")
    pickling.register_task(lambda numbers: sum(numbers, 1), name="sum")
    await plain.crud.startup()
    handle = await task.launch([1, 2])

    await pickling.startup()
    await clock.advance(seconds=30)

    record = await stored(plain, handle)
    assert (record.codec, record.result) == ("json", b"4")
    assert await handle.result(timeout=0) == 4
    assert await pickling.get_task_result(handle) == 4


async def test_a_worker_without_the_secret_leaves_it_to_one_that_has_it(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """It costs a minute, as any call does that a worker cannot read; the reason says what to give it."""
    clock = ManualClock()
    pickling = make_kapusta(open_store(clock), codec=PickleCodec(secret=SECRET))
    plain = make_kapusta(open_store(clock))
    task = pickling.register_task(double, name="double")
    plain.register_task(double, name="double")
    await pickling.crud.startup()
    handle = await task.launch(ORDER)

    await plain.startup()
    await clock.advance(seconds=30)
    parked = await stored(pickling, handle)
    await plain.shutdown()
    await pickling.startup()
    await clock.advance(minutes=2)

    assert (parked.status, parked.crashes) == (TaskStatus.pending, 1)
    assert "Start this with Kapusta(codec=PickleCodec(secret=...))" in (parked.reason or "")
    assert await handle.result(timeout=0) == (ORDER, {7: None})


async def test_a_result_that_cannot_be_pickled_is_a_success_without_one(
    open_store: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """As with JSON: the work is done, and is not done again."""
    kapusta = make_kapusta(open_store(ManualClock()), codec=PickleCodec(secret=SECRET))
    task = kapusta.register_task(bodies.leave_a_lambda)
    await kapusta.startup()

    handle = await task.launch()
    await kapusta.run_until_idle()

    assert await handle.status() is TaskStatus.success
    with pytest.raises(ResultNotStoredError, match="it cannot be pickled"):
        await handle.result(timeout=0)


async def test_a_result_within_a_transaction_is_signed_as_any(tmp_path: Path) -> None:
    """`finish_within` stores what `launch` and a handle read, and refuses what cannot be stored before it writes."""
    url = f"sqlite+aiosqlite:///{tmp_path}/tasks.db"
    kapusta = Kapusta(url, codec=PickleCodec(secret=SECRET))
    engine = create_async_engine(url)

    @kapusta.task()
    async def finish(order: Order) -> None:
        async with AsyncSession(engine) as session, session.begin():
            with pytest.raises(ResultEncodingError, match="it cannot be pickled"):
                await kapusta.finish_within(session, lambda: None)
            await kapusta.finish_within(session, double(order))

    async with kapusta:
        result = await (await finish.launch(ORDER)).result(timeout=30)
    await engine.dispose()

    assert result == (ORDER, {7: None})


# --- in child processes -----------------------------------------------------------------------------


async def test_an_object_goes_into_a_child_and_comes_out(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """Mode `process` carries it over its channel, signed, in both directions, whatever environment the child has."""
    kapusta = make_kapusta(
        in_memory(), codec=PickleCodec(secret=[SECRET, OLD_SECRET]), process_environment={"LC_ALL": "C.UTF-8"}
    )
    task = kapusta.register_task(bodies.give_back, "process")
    await kapusta.startup()

    handle = await task.launch((ORDER, 1j), kind={"set"})

    result = await handle.result(timeout=60)
    assert (result["value"], result["kind"]) == ((ORDER, 1j), {"set"})
    assert (await stored(kapusta, handle)).codec == "pickle"


async def test_a_call_in_json_has_its_result_in_json_from_a_child_too(
    in_memory: OpenStore, make_kapusta: MakeKapusta
) -> None:
    """A child goes by the row, not by what its parent was given."""
    plain = make_kapusta(in_memory())
    pickling = make_kapusta(in_memory(), codec=PickleCodec(secret=SECRET))
    task = plain.register_task(bodies.give_back, "process", name="give")
    pickling.register_task(bodies.give_back, "process", name="give")
    await plain.crud.startup()
    handle = await task.launch([1])

    await pickling.startup()

    assert (await handle.result(timeout=60))["value"] == [1]


async def test_the_secret_is_in_nothing_that_others_can_read_of_a_child(
    in_memory: OpenStore, make_kapusta: MakeKapusta, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither in its command line, which all users of a machine see, nor in its environment, which it passes on."""
    caplog.set_level("DEBUG")
    kapusta = make_kapusta(in_memory(), codec=PickleCodec(secret=[SECRET, OLD_SECRET]))
    task = kapusta.register_task(bodies.be_read, "process")
    await kapusta.startup()

    seen = await (await task.launch()).result(timeout=60)

    assert len(seen["words"]) > 10
    everything = "".join(seen.values()) + caplog.text
    assert SECRET not in everything
    assert OLD_SECRET not in everything


@pytest.mark.parametrize("secrets", [[SECRET.encode()], None], ids=["with a secret", "without"])
async def test_a_child_unpickles_nothing_that_is_not_signed(
    tmp_path: Path, nothing_left_behind: None, secrets: list[bytes] | None
) -> None:
    """It trusts nobody's word that its parent has looked: it compares the signature where it would unpickle."""
    boom = tmp_path / "boom"
    child = await Child.start(None, 1000, secrets)
    where = ImportPath("tests.security.bodies", "give_back")

    answers = []
    call = bomb_call("value", str(boom))
    for payload in (call, b"\0" * 32 + call):
        child.tell(Job(1, "give_back", where, payload, "pickle"))
        answers.append(await child.hear())
    child.let_go()
    await child.death()

    assert not boom.exists()
    for answer in answers:
        assert isinstance(answer, Answer)
        assert "cannot be read here" in (answer.unreadable or "")
