"""A number that was a child's, and may be another's by now."""

from __future__ import annotations

import os
import signal

import pytest

from kapusta._executors._children import Child
from tests.worker.eventually import eventually


async def test_what_has_the_number_of_a_child_that_is_gone_is_left_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The system gives numbers of processes again: to end a child that has ended sends no signal to anybody."""
    child = await Child.start(None, 1000)
    sent: list[signal.Signals] = []
    os.kill(child.pid, signal.SIGKILL)
    await eventually(lambda: not child.is_alive, "it is known to be gone")
    await child.death()

    monkeypatch.setattr(os, "killpg", lambda _pid, number: sent.append(number))
    await child.kill()

    assert sent == []


async def test_a_child_that_lives_is_sent_its_signals(monkeypatch: pytest.MonkeyPatch) -> None:
    """Likewise the other way round: first the one that it may take time for, and, once it is gone, the last one."""
    child = await Child.start(None, 1000)
    sent: list[signal.Signals] = []
    send = os.killpg

    def note(pid: int, number: signal.Signals) -> None:
        sent.append(number)
        send(pid, number)

    monkeypatch.setattr(os, "killpg", note)
    await child.kill()

    assert sent[0] == signal.SIGTERM
    assert sent[-1] == signal.SIGKILL  # to whatever it had started
    assert not child.is_alive
