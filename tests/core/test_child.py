"""A child process, and the channel that it lives by."""

from __future__ import annotations

import json
from pathlib import Path

from kapusta._executors._children import Child
from kapusta._executors._messages import Answer, Job
from kapusta._naming import ImportPath

SLEEP = ImportPath("tests.processes.programs.mishaps", "sleep")


async def test_a_child_whose_channel_closes_ends_with_the_body_that_runs_in_it(tmp_path: Path) -> None:
    """What a parent that is gone leaves behind is a closed channel: enough, where the kernel does nothing more."""
    payload = json.dumps({"folder": str(tmp_path), "seconds": 60}).encode()
    child = await Child.start(None, 1000)
    child.tell(Job("sleep", SLEEP, payload, "json"))
    first = await child.hear()

    child.let_go()
    end = await child.death()

    assert first == Answer(begun=True)
    assert end == "its child process was ended by signal 9, SIGKILL (out of memory?)"
