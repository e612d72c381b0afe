"""Whoever can write to the table, and has no secret, can run no code by it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from kapusta import Kapusta, PickleCodec, ResultUnreadableError, Task, TaskStatus
from kapusta.backend import BaseCRUD, Change, ClaimRequest, Guard, NewTask, StoredTask, TaskExecutionMode
from kapusta.testing import ManualClock
from tests.security.bombs import OLD_SECRET, SECRET, bomb, bomb_call, exploded
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.stored import stored

Forge = Callable[[bytes, bytes], bytes]
"""From the stored arguments of the same task, and of another, what the attacker writes."""

ROWS: dict[str, tuple[str, Forge]] = {
    # how it is made: which codec the row says, and the arguments in it
    "a pickle as JSON": ("json", lambda own, other: bomb()),
    "a signed call, said to be JSON": ("json", lambda own, other: own),
    "a pickle without a signature": ("pickle", lambda own, other: bomb_call("order")),
    "a pickle under a signature of zeros": ("pickle", lambda own, other: b"\0" * 32 + bomb_call("order")),
    "a pickle under the signature of another call": (
        "pickle",
        lambda own, other: own[:32] + bomb_call("order"),
    ),
    "signed by another secret": ("pickle", lambda own, other: signed(OLD_SECRET, "pay")),
    "the call of another task": ("pickle", lambda own, other: other),
    "half of a signed call": ("pickle", lambda own, other: own[: len(own) // 2]),
    "JSON, said to be a pickle": ("pickle", lambda own, other: b'{"order": 7}'),
    "a codec that there is not": ("marshal", lambda own, other: own),
}


def signed(secret: str, task: str) -> bytes:
    """A bomb as arguments of *task*, by somebody who has *secret*."""
    from kapusta._codec import Label, Role

    codec = PickleCodec(secret=secret)
    return codec.seal(codec.pack({"order": bomb()}), Label(task, Role.arguments))


class Shop:
    """Two tasks of one application, of which the first is attacked."""

    def __init__(self, crud: BaseCRUD, make_kapusta: MakeKapusta, *, secret: str | None = SECRET) -> None:
        codec = None if secret is None else PickleCodec(secret=secret)
        self.kapusta: Kapusta = make_kapusta(crud, codec=codec)
        self.ran: list[object] = []

        async def pay(order):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - whatever comes would be taken
            self.ran.append(order)
            return order

        async def refund(order):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202 - the same
            self.ran.append(order)

        self.pay: Task[..., object] = self.kapusta.register_task(pay, name="pay")
        self.refund: Task[..., object] = self.kapusta.register_task(refund, name="refund")

    async def forged(self, row: str) -> int:
        """The id of a row of `pay` that the attacker has written into the table."""
        codec, forge = ROWS[row]
        own = await self.pay.with_options(eta_delta=timedelta(days=300)).launch({"paid"})
        other = await self.refund.with_options(eta_delta=timedelta(days=300)).launch({"refunded"})
        crud = self.kapusta.crud
        payload = forge((await stored(crud, own)).payload, (await stored(crud, other)).payload)
        await crud.add_tasks(
            [
                NewTask(
                    id=7,
                    token="forged",
                    name="pay",
                    payload=payload,
                    codec=codec,
                    mode=TaskExecutionMode.async_,
                )
            ]
        )
        return 7


@pytest.mark.parametrize("row", ROWS)
async def test_a_forged_row_is_held_and_its_code_never_runs(
    open_store: OpenStore, make_kapusta: MakeKapusta, row: str
) -> None:
    """A worker that reads pickles parks what nobody has signed for this task, says why, and works on."""
    clock = ManualClock()
    shop = Shop(open_store(clock), make_kapusta)
    await shop.kapusta.crud.startup()
    forged = await shop.forged(row)

    await shop.kapusta.startup()
    await clock.advance(minutes=10)
    honest = await shop.pay.launch({1j})
    await clock.advance(seconds=5)

    task = await stored(shop.kapusta, forged)
    assert exploded == []
    assert (task.status, task.crashes, task.failures) == (TaskStatus.held, 3, 0)
    assert "cannot be read here" in (task.reason or "")
    assert shop.ran == [{1j}]
    assert await honest.result(timeout=0) == {1j}


@pytest.mark.parametrize(
    "row", ["a pickle as JSON", "a pickle without a signature", "a codec that there is not"]
)
async def test_without_a_secret_nothing_is_unpickled(
    open_store: OpenStore, make_kapusta: MakeKapusta, row: str
) -> None:
    """The default: a worker that was given no secret has no way to run a pickle, whatever a row says."""
    codec, forge = ROWS[row]
    clock = ManualClock()
    shop = Shop(open_store(clock), make_kapusta, secret=None)
    await shop.kapusta.startup()
    await shop.kapusta.crud.add_tasks(
        [
            NewTask(
                id=7,
                token="forged",
                name="pay",
                payload=forge(b"", b""),
                codec=codec,
                mode=TaskExecutionMode.async_,
            )
        ]
    )

    await clock.advance(minutes=10)

    assert exploded == []
    assert shop.ran == []
    assert (await stored(shop.kapusta, 7)).status is TaskStatus.held


async def test_a_signed_row_runs(open_store: OpenStore, make_kapusta: MakeKapusta) -> None:
    """The bomb of these tests, written by somebody who has the secret, goes off: the secret is the right to run code."""
    clock = ManualClock()
    shop = Shop(open_store(clock), make_kapusta)
    await shop.kapusta.startup()

    await shop.kapusta.crud.add_tasks(
        [
            NewTask(
                id=7,
                token="insider",
                name="pay",
                payload=signed(SECRET, "pay"),
                codec="pickle",
                mode=TaskExecutionMode.async_,
            )
        ]
    )
    await clock.advance(seconds=30)

    assert shop.ran == ["boom"]
    assert exploded == ["boom"]


# --- results ----------------------------------------------------------------------------------------


async def settled_by_attacker(crud: BaseCRUD, task_id: int, result: Callable[[StoredTask], bytes]) -> None:
    """Have somebody who is no worker claim a task and write its success."""
    claims = await crud.claim_tasks(
        ClaimRequest(
            worker="attacker",
            lease=timedelta(hours=1),
            slots=dict.fromkeys(TaskExecutionMode, 10),
            names=frozenset({"pay"}),
        )
    )
    (task,) = (task for task in claims.tasks if task.id == task_id)
    (changed,) = await crud.change_tasks(
        [
            Change(
                id=task.id,
                run=task.run,
                guard=Guard.holder,
                worker="attacker",
                status=TaskStatus.success,
                result=result(task),
            )
        ]
    )
    assert changed.answer.value == "accepted"


@pytest.mark.parametrize(
    "result",
    [
        lambda task: bomb(),
        lambda task: b"\0" * 32 + bomb(),
        lambda task: task.payload,
        lambda task: task.payload[:32] + bomb(),
        lambda task: signed(OLD_SECRET, "pay"),
        lambda task: b"7",
        lambda task: b"",
    ],
    ids=["bomb", "zeros", "the arguments", "their signature", "another secret", "JSON", "nothing"],
)
async def test_a_forged_result_is_not_read(
    open_store: OpenStore, make_kapusta: MakeKapusta, result: Callable[[StoredTask], bytes]
) -> None:
    """Nor are signed arguments, moved to where the result stands: who asks for the result gets an error and runs nothing."""
    shop = Shop(open_store(ManualClock()), make_kapusta)
    await shop.kapusta.crud.startup()
    handle = await shop.pay.launch({"paid"})

    await settled_by_attacker(shop.kapusta.crud, handle, result)

    stranger: Kapusta = make_kapusta(shop.kapusta.crud, codec=PickleCodec(secret=SECRET))  # knows no task
    for ask in (
        handle.result(timeout=0),
        shop.kapusta.get_task_result(handle),
        shop.kapusta.handle(handle).result(timeout=0),
        stranger.get_task_result(handle),
    ):
        with pytest.raises(ResultUnreadableError, match="has signed them as the result"):
            await ask
    assert exploded == []
    assert await handle.status() is TaskStatus.success
