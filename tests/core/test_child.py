"""A child process, and the channel that it lives by."""

from __future__ import annotations

import json
from pathlib import Path

from kapusta._executors._attempt import Returned
from kapusta._executors._children import Child
from kapusta._executors._messages import Answer, Job
from kapusta._naming import ImportPath
from tests.worker.eventually import eventually

SLEEP = ImportPath("tests.processes.programs.mishaps", "sleep")
FORGE = ImportPath("tests.security.bodies", "forge_an_answer")


async def test_a_child_whose_channel_closes_ends_with_the_body_that_runs_in_it(tmp_path: Path) -> None:
    """What a parent that is gone leaves behind is a closed channel: enough, where the kernel does nothing more."""
    payload = json.dumps({"folder": str(tmp_path), "seconds": 60}).encode()
    child = await Child.start(None, 1000)
    child.tell(Job(1, "sleep", SLEEP, payload, "json"))
    first = await child.hear()

    child.let_go()
    end = await child.death()

    assert first == Answer(1, begun=True)
    assert end == "its child process was ended by signal 9, SIGKILL (out of memory?)"


async def test_a_child_that_speaks_without_a_job_is_given_none() -> None:
    """The next job would take the answer for its own, and lose its run for it."""
    child = await Child.start(None, 1000)
    child.tell(Job(7, "forge", FORGE, b'{"number":null}', "json"))
    answers = [await child.hear(), await child.hear()]
    _ = child.listen()

    await eventually(lambda: not child.is_usable, "what it says after its answer is heard")
    was_alive = child.is_alive
    await child.see_off()

    assert answers == [Answer(7, begun=True), Answer(7, returned=Returned(b'"forged"'))]
    assert was_alive
