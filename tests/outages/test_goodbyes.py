"""A handle is shut down though nobody is left to say goodbye to."""

from __future__ import annotations

import logging

import pytest

from kapusta.backend import TaskQuery
from kapusta_sqlalchemy import AlchemyCRUD
from tests.outages.conftest import Network


async def test_connections_that_were_reset_are_closed_without_a_word(
    network: Network, caplog: pytest.LogCaptureFixture
) -> None:
    """A connection that the network has ended is no trouble to whoever closes it: nothing is logged as an error."""
    store = AlchemyCRUD(network.url)
    await store.startup()
    await store.find_tasks(TaskQuery())
    await network.proxy.drop()

    with caplog.at_level(logging.WARNING):
        await store.shutdown()

    assert caplog.messages == []
