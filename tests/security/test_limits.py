"""What is too large is refused where it would begin, with the limit named, and what is too long is cut."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from kapusta import (
    ArgumentError,
    Kapusta,
    PayloadTooLargeError,
    PickleCodec,
    ResultNotStoredError,
    TaskStatus,
)
from kapusta.backend import NewTask, TaskExecutionMode
from kapusta.testing import ManualClock
from kapusta_memory import MemoryCRUD
from tests.processes.lab import lab
from tests.security import bodies
from tests.security.bombs import SECRET
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.stored import stored

MEBIBYTE = 1 << 20
CODECS = [None, PickleCodec(secret=SECRET)]
LONGEST_TEXT = 20_000
"""How many characters an error or a reason may have in the store."""


def length(text: str) -> int:
    """Take something large."""
    return len(text)


@pytest.mark.parametrize("codec", CODECS, ids=["json", "pickle"])
async def test_arguments_at_the_limit_are_taken_and_one_byte_more_is_not(
    in_memory: OpenStore, make_kapusta: MakeKapusta, codec: PickleCodec | None
) -> None:
    """The limit is a mebibyte unless you say otherwise, in encoded bytes, with the signature; nothing more is stored."""
    kapusta = make_kapusta(in_memory(ManualClock()), codec=codec)
    task = kapusta.register_task(length, name="t")
    await kapusta.startup()
    size = len((await stored(kapusta, await task.launch("x" * 100_000))).payload)
    room = MEBIBYTE - (size - 100_000)

    fits = await task.launch("x" * room)
    with pytest.raises(PayloadTooLargeError) as caught:
        await task.launch("x" * (room + 1))
    with pytest.raises(PayloadTooLargeError):
        await task.launch_many([{"text": ""}, {"text": "x" * (room + 1)}])
    await kapusta.run_until_idle()

    assert (caught.value.size, caught.value.limit) == (MEBIBYTE + 1, MEBIBYTE)
    assert "Kapusta(max_payload_bytes=...)" in str(caught.value)
    assert await fits.result(timeout=0) == room


@pytest.mark.parametrize("codec", CODECS, ids=["json", "pickle"])
@pytest.mark.parametrize("mode", ["sync", "thread"])
async def test_a_result_beyond_the_limit_is_a_success_without_one(
    in_memory: OpenStore, make_kapusta: MakeKapusta, mode: str, codec: PickleCodec | None
) -> None:
    """The work is done, and is not done again for its answer's sake; the reason names size and limit."""
    kapusta = make_kapusta(in_memory(ManualClock()), max_payload_bytes=200, codec=codec)
    task = kapusta.register_task(lambda size: "x" * size, mode, name="t", timeout=None)
    await kapusta.startup()

    small, large = await task.launch_many([{"size": 100}, {"size": 199}])
    await kapusta.run_until_idle()

    record = await stored(kapusta, large)
    assert await small.result(timeout=0) == "x" * 100
    assert (record.status, record.result) == (TaskStatus.success, None)
    assert "max_payload_bytes is 200" in (record.reason or "")
    with pytest.raises(ResultNotStoredError, match="max_payload_bytes is 200"):
        await large.result(timeout=0)


@pytest.mark.parametrize("mode", ["sync", "thread", "process"])
async def test_a_long_error_is_cut(in_memory: OpenStore, make_kapusta: MakeKapusta, mode: str) -> None:
    """Ten million characters of an exception leave its beginning and its end in the store, wherever the body ran."""
    kapusta = make_kapusta(in_memory())
    task = kapusta.register_task(bodies.fail_at_length, mode, timeout=None)
    await kapusta.startup()

    handle = await task.launch(10_000_000)
    with pytest.raises(Exception, match="ended as 'error'") as caught:
        await handle.result(timeout=60)

    error = (await stored(kapusta, handle)).error or ""
    assert len(error) < LONGEST_TEXT
    assert "Traceback" in error
    assert error.rstrip().endswith("the end")
    assert len(str(caught.value)) < LONGEST_TEXT


@pytest.mark.parametrize(
    ("codec", "payload"),
    [
        ("json", msgspec.json.encode({"k" * MEBIBYTE: 1})),
        ("json", msgspec.json.encode({"kind": "k" * MEBIBYTE})),
        ("json", msgspec.json.encode({"few": {"k" * MEBIBYTE: "not a number"}})),
        ("c" * 50, b"{}"),
    ],
    ids=["a parameter", "a literal", "a key", "a codec"],
)
async def test_the_reason_of_a_call_that_cannot_be_read_is_short(
    open_store: OpenStore, make_kapusta: MakeKapusta, codec: str, payload: bytes
) -> None:
    """Whatever a row holds, what is said of it in the store and in the log is a sentence."""
    kapusta = make_kapusta(open_store(ManualClock()))
    kapusta.register_task(bodies.choose, name="t")
    await kapusta.startup()

    await kapusta.crud.add_tasks(
        [NewTask(id=7, token="t", name="t", payload=payload, codec=codec, mode=TaskExecutionMode.sync)]
    )
    await kapusta.run_until_idle()

    task = await stored(kapusta, 7)
    assert "cannot be read here" in (task.reason or "")
    assert len(task.reason or "") < 1500


class Speechless:
    """An argument that cannot even be shown."""

    def __repr__(self) -> str:
        raise KeyError("who asks?")


@pytest.mark.parametrize(
    "value", ["x" * MEBIBYTE, [MEBIBYTE] * MEBIBYTE, Speechless()], ids=["text", "list", "speechless"]
)
async def test_a_refusal_shows_a_short_piece_of_what_it_refuses(value: object) -> None:
    """An argument of a mebibyte is not in the message, nor in the log that the message goes to."""
    kapusta = Kapusta(MemoryCRUD())
    task = kapusta.register_task(bodies.choose)
    async with kapusta:
        with pytest.raises(ArgumentError) as caught:
            await task.launch(value)  # type: ignore[arg-type]  # that is the point

    assert caught.value.parameter == "kind"
    assert len(str(caught.value)) < 1500


async def test_what_would_arrive_as_something_else_is_shown_in_short() -> None:
    """Neither what was passed nor what would arrive is in the message whole."""
    kapusta = Kapusta(MemoryCRUD())
    task = kapusta.register_task(bodies.give_back)
    async with kapusta:
        with pytest.raises(ArgumentError, match="would arrive as") as caught:
            await task.launch({1: "x" * MEBIBYTE})

    assert len(str(caught.value)) < 1500


# --- in child processes -----------------------------------------------------------------------------


@pytest.mark.parametrize("codec", CODECS, ids=["json", "pickle"])
async def test_a_child_keeps_a_large_result_to_itself(tmp_path: Path, codec: PickleCodec | None) -> None:
    """What a body returns is measured in the child: its parent hears the size, and not the result."""
    async with lab(tmp_path, max_payload_bytes=500, codec=codec) as here:
        task = here.task(bodies.give_back_at_length)
        small = await (await task.launch(size=400)).result(timeout=30)
        record = await here.end_of(await task.launch(size=100 * MEBIBYTE))

    assert small == "x" * 400
    assert (record.status, record.result) == (TaskStatus.success, None)
    assert "max_payload_bytes is 500" in (record.reason or "")


@pytest.fixture
def traced() -> Iterator[None]:
    """What this process takes of memory is counted."""
    tracemalloc.start()
    yield
    tracemalloc.stop()


async def test_a_child_that_answers_a_gibibyte_does_not_take_its_parent_down(
    tmp_path: Path, traced: None
) -> None:
    """An answer that says it is longer than any can be is not read: a crash, in this task alone."""
    async with lab(tmp_path, max_payload_bytes=1000) as here:
        await here.next_body()
        tracemalloc.reset_peak()
        before, _ = tracemalloc.get_traced_memory()

        record = await here.end_of(
            await here.task(bodies.speak_at_length).launch(announced=1 << 30, sent=1 << 30)
        )
        grown = tracemalloc.get_traced_memory()[1] - before
        await here.next_body()

    print(f"memory grew by {grown / MEBIBYTE:.2f} MiB at most")
    assert record.status is TaskStatus.held
    assert f"it takes {1 << 30} bytes, {1000 + (1 << 18)} are the most" in (record.reason or "")
    assert grown < 8 * MEBIBYTE


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"\xc1",
        b"\x80",
        msgspec.msgpack.encode({"number": 1}),
        b"null",
        msgspec.msgpack.encode({"number": 1, "begun": "yes"}),
        b"\x91" * 100_000,
    ],
    ids=["nothing", "no msgpack", "no number", "a number only", "JSON", "another type", "depth"],
)
async def test_what_is_no_answer_is_the_end_of_its_child(
    tmp_path: Path, said: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Nonsense on the channel of a child ends that child and that run, with a reason; the next body has another."""
    async with lab(tmp_path) as here:
        record = await here.end_of(await here.task(bodies.speak_nonsense).launch(data=said))
        await here.next_body()

    assert record.status is TaskStatus.held
    assert "the answer of its child process cannot be read" in (record.reason or "")
    assert "Traceback" not in caplog.text
