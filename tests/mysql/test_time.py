"""One clock, the server's, whatever a session believes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.ext.asyncio import create_async_engine

from kapusta.backend import TaskQuery
from kapusta_sqlalchemy import AlchemyCRUD
from kapusta_sqlalchemy._dialects._mysql._sql import now_is
from tests.servers.mariadb import connect
from tests.sqlalchemy.records import LEASE, claim, new


@pytest.mark.parametrize("zone", ["+13:00", "-11:00"])
async def test_the_sessions_time_zone_does_not_matter(store: AlchemyCRUD, mysql_url: str, zone: str) -> None:
    """A handle whose sessions are half a day away stores, claims and waits by the same instants as others."""
    engine = create_async_engine(mysql_url)

    @event.listens_for(engine.sync_engine, "connect")
    def connected(connection: object, _record: object) -> None:
        cursor = connection.cursor()  # type: ignore[attr-defined]  # a driver's connection
        cursor.execute(f"SET time_zone = '{zone}'")
        cursor.close()

    abroad = AlchemyCRUD(engine)
    await abroad.startup()
    given = datetime(2031, 5, 6, 7, 8, 9, 123_456, tzinfo=UTC)
    await abroad.add_tasks([new(), new(eta=given), new(delay=timedelta(hours=1))])

    claims = await abroad.claim_tasks(claim())

    assert abs(claims.now - (await store.claim_tasks(claim())).now) < timedelta(seconds=5)
    assert abs(claims.now - datetime.now(UTC)) < timedelta(minutes=1)
    (task,) = claims.tasks
    assert task.lease_end == claims.now + LEASE
    now, later, soon = await store.find_tasks(TaskQuery())
    assert (now.started, later.eta) == (claims.now, given)
    assert timedelta(minutes=59) < soon.eta - claims.now <= timedelta(hours=1)
    await abroad.shutdown()
    await engine.dispose()


def test_now_moves_within_a_transaction(mysql_url: str) -> None:
    """The store's now is that of the statement: an eta that is set late in a long transaction counts from then."""
    text, parameters = now_is(0)
    connection = connect(mysql_url)
    instants = []
    with connection.cursor() as cursor:
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
        for _ in range(2):
            cursor.execute(text, parameters)
            cursor.execute("SELECT @kapusta_now, SLEEP(0.2)")
            row = cursor.fetchone()
            assert row is not None
            instants.append(row[0])
    connection.close()

    assert instants[1] - instants[0] >= 200_000
