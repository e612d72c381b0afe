"""A listener whose connection is there, and says nothing any more."""

from __future__ import annotations

import logging

import pytest
from sqlalchemy import make_url

from kapusta import Task
from kapusta_sqlalchemy._dialects._postgresql import _listening
from tests.outages.conftest import MakeKapusta, Network
from tests.servers.postgresql import administer
from tests.worker.eventually import eventually


async def test_a_dead_listener_is_noticed_and_replaced_and_hears_again(
    postgres_network: Network,
    make_kapusta: MakeKapusta,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """No reset tells it, but its own question stays unanswered: then what was launched meanwhile is found, and the next is heard of."""
    monkeypatch.setattr(_listening, "PERIOD", 0.5)
    monkeypatch.setattr(_listening, "PATIENCE", 1.0)
    task = await _worker_and_launcher(postgres_network, make_kapusta, lease=300)

    with caplog.at_level(logging.WARNING, logger="kapusta.sqlalchemy"):
        postgres_network.proxy.strand()
        missed = await task.launch()
        assert await missed.result(timeout=30) == "ran"
    heard = await task.launch()
    assert await heard.result(timeout=30) == "ran"  # looking around would have taken a lease: five minutes

    assert "hears nothing any more" in caplog.text


async def test_a_dead_listener_that_is_not_noticed_yet_costs_a_lease(
    postgres_network: Network, make_kapusta: MakeKapusta, caplog: pytest.LogCaptureFixture
) -> None:
    """What nobody hears of is found by looking, all the while: a notification is a hint."""
    task = await _worker_and_launcher(postgres_network, make_kapusta, lease=1)

    postgres_network.proxy.strand()
    found = await task.launch()

    assert await found.result(timeout=_listening.PERIOD - 2) == "ran"
    assert "hears nothing any more" not in caplog.text


async def _worker_and_launcher(
    network: Network, make_kapusta: MakeKapusta, *, lease: float
) -> Task[..., str]:
    """A worker that listens over the network, and a task that is launched from beside it."""
    worker = make_kapusta(network.url, lease=lease, store_timeout=1, max_tick_interval=300)
    elsewhere = make_kapusta(network.direct)
    worker.register_task(_run, name="task")
    task = elsewhere.register_task(_run, name="task")
    await elsewhere.crud.startup()
    await worker.startup()
    await eventually(lambda: _listens(network), "it listens")
    return task


def _listens(network: Network) -> bool:
    asked = "SELECT count(*) > 0 FROM pg_stat_activity WHERE query LIKE 'LISTEN%'"
    return bool(administer(make_url(network.direct), lambda admin: admin.fetchval(asked)))


def _run() -> str:
    return "ran"
