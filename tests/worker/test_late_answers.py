"""A body in a thread that lost its lease and could not be stopped: what it says in the end is sent, and the store decides."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest

from kapusta import TaskHandle, TaskStatus
from tests.worker.conftest import MakeKapusta, OpenStore
from tests.worker.eventually import eventually
from tests.worker.scripted import ScriptedCRUD
from tests.worker.stored import stored


class Scene:
    """A worker that can neither renew nor rescue, and runs a body in a thread until that is let go; and another worker."""

    def __init__(self, in_memory: OpenStore, make_kapusta: MakeKapusta) -> None:
        self.store = ScriptedCRUD(in_memory())
        self.cut_off, self.other = make_kapusta(self.store, lease=0.4), make_kapusta(in_memory(), lease=0.4)
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.handle: TaskHandle[str]

    def charge(self) -> str:
        """The body."""
        self.begun.set()
        self.go_on.wait(30)
        return "charged"

    async def begin(self, on_crash: str) -> None:
        """Return when the body runs, and its lease cannot be renewed any more."""
        task = self.cut_off.register_task(
            self.charge, "thread", name="charge", timeout=None, on_crash=on_crash
        )
        await self.other.crud.startup()
        await self.cut_off.startup()
        self.handle = await task.launch()
        await eventually(self.begun.is_set, "it has begun")
        self.cut_off.stop_listening_task()
        self.store.script.down = {"renew_leases", "find_tasks"}

    async def becomes(self, status: TaskStatus, result: bytes | None = None) -> None:
        """Return when this is stored of the task."""

        async def is_so() -> bool:
            task = await stored(self.other, self.handle)
            return (task.status, task.result) == (status, result)

        await eventually(is_so, f"it is '{status}' with {result!r}")


@pytest.fixture
def scene(in_memory: OpenStore, make_kapusta: MakeKapusta) -> Iterator[Scene]:
    """Whose body is let go in the end."""
    scene = Scene(in_memory, make_kapusta)
    yield scene
    scene.go_on.set()


async def test_it_ends_a_task_that_is_held_for_this_very_crash(scene: Scene) -> None:
    """Whether its work was done, a person would have had to find out."""
    await scene.begin("hold")
    await scene.other.startup()
    await scene.becomes(TaskStatus.held)

    scene.go_on.set()

    await scene.becomes(TaskStatus.success, b'"charged"')


async def test_it_counts_where_nobody_has_taken_the_task(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """What has been done need not be done again."""
    await scene.begin("retry")
    await eventually(lambda: "it is abandoned" in caplog.text, "it is abandoned")

    scene.go_on.set()

    await scene.becomes(TaskStatus.success, b'"charged"')


async def test_it_is_refused_where_another_has_the_task(
    scene: Scene, caplog: pytest.LogCaptureFixture
) -> None:
    """It comes from an earlier run, and is not merged with anything."""
    scene.other.register_task(lambda: "by another", "thread", name="charge")
    await scene.begin("retry")
    await scene.other.startup()
    await scene.becomes(TaskStatus.success, b'"by another"')

    scene.go_on.set()

    await eventually(
        lambda: "ended as 'success', but its claim was lost: refused" in caplog.text, "it is refused"
    )
    await scene.becomes(TaskStatus.success, b'"by another"')
