"""PgBouncer in transaction mode: each transaction may meet another process of the server."""

from __future__ import annotations

import asyncio
import logging

import asyncpg
import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from kapusta import Kapusta
from kapusta.backend import TaskQuery, UniqueKey
from kapusta_sqlalchemy import AlchemyCRUD
from kapusta_sqlalchemy._dialects._postgresql import _listening
from tests.servers.pgbouncer import SERVER_CONNECTIONS
from tests.sqlalchemy.records import claim, new, renewal, settled
from tests.worker.eventually import eventually

_DEAF = "nothing can be heard there"


async def test_every_operation_works_though_each_may_meet_another_process(pgbouncer_url: str) -> None:
    """Four handles make the tables at once, and then do everything at the same time, on three connections."""
    stores = [AlchemyCRUD(pgbouncer_url) for _ in range(4)]
    await asyncio.gather(*(store.startup() for store in stores))

    async def live(store: AlchemyCRUD, worker: str) -> int:
        count = 0
        for turn in range(20):
            await store.add_tasks([new(unique=UniqueKey(key=f"{worker}/{turn}/{n}")) for n in range(2)])
            tasks = (await store.claim_tasks(claim(of_each=1, worker=worker))).tasks
            renewed = await store.renew_leases(renewal(*tasks).replace(worker=worker)) if tasks else []
            changed = await store.change_tasks([settled(task, worker=worker) for task in tasks])
            # Busy: a claim that took the row for pending has locked it, and is about to see that it is not.
            assert {one.answer.value for one in renewed} <= {"renewed", "busy"}
            assert {one.answer.value for one in changed} <= {"accepted"}
            count += len(changed)
        return count

    done = await asyncio.gather(*(live(store, f"worker {n}") for n, store in enumerate(stores)))
    found = await stores[0].find_tasks(TaskQuery(limit=500))
    await asyncio.gather(*(store.shutdown() for store in stores))

    assert len(found) == 4 * 20 * 2
    assert sum(task.status == "success" for task in found) == sum(done) > 0


async def test_an_engine_of_the_users_works_with_what_the_guide_says(pgbouncer_url: str) -> None:
    """Nothing is prepared by it either; and it makes the tables."""
    engine = create_async_engine(
        pgbouncer_url,
        connect_args={
            "statement_cache_size": 0,
            "prepared_statement_cache_size": 0,
            "prepared_statement_name_func": str,
        },
    )
    store = AlchemyCRUD(engine)
    await store.startup()
    await asyncio.gather(*(store.add_tasks([new()]) for _ in range(30)))
    found = await store.find_tasks(TaskQuery(limit=100))
    await store.shutdown()
    await engine.dispose()

    assert len(found) == 30


async def test_nothing_of_ours_stays_in_a_session_that_is_others_too(
    pgbouncer_url: str, postgres_url: str
) -> None:
    """Whoever gets a connection of the server after us finds its settings as they were."""
    store = AlchemyCRUD(pgbouncer_url)
    await store.startup()
    await asyncio.gather(*(store.add_tasks([new()]) for _ in range(20)))
    await store.shutdown()

    stranger = await _connected(pgbouncer_url)
    settings = {tuple(await stranger.fetchrow(_SETTINGS)) for _ in range(SERVER_CONNECTIONS)}
    await stranger.close()
    plain = await _connected(postgres_url)
    expected = tuple(await plain.fetchrow(_SETTINGS))
    await plain.close()

    assert settings == {expected}


async def test_a_worker_that_cannot_hear_says_so_once_and_looks_around(
    pgbouncer_url: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """`LISTEN` reaches nobody there: a launch elsewhere is noticed by looking for it, and the log says why it takes a second."""
    monkeypatch.setattr(_listening, "PATIENCE", 0.5)
    monkeypatch.setattr(_listening, "POLLING", 0.1)
    worker, elsewhere = Kapusta(pgbouncer_url, max_tick_interval=300), Kapusta(pgbouncer_url)
    worker.register_task(_run, name="task")
    task = elsewhere.register_task(_run, name="task")
    await elsewhere.crud.startup()
    with caplog.at_level(logging.WARNING, logger="kapusta.sqlalchemy"):
        async with worker:
            await eventually(lambda: _DEAF in caplog.text, "it says that it hears nothing")
            for _ in range(5):
                handle = await task.launch()
                await eventually(lambda handle=handle: _is_done(elsewhere, handle), "it has run", within=10)
    await elsewhere.shutdown()

    assert caplog.text.count(_DEAF) == 1


async def test_a_pooler_of_sessions_is_listened_through(
    session_pooler_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    """One that leaves a connection to its client until that goes is noticed too, and there `LISTEN` is heard."""
    listening, telling = AlchemyCRUD(session_pooler_url), AlchemyCRUD(session_pooler_url)
    await listening.startup()
    await telling.startup()
    heard = asyncio.Event()
    with caplog.at_level(logging.WARNING, logger="kapusta.sqlalchemy"):
        async with listening.listen(lambda kind: heard.set()):
            await telling.add_tasks([new()])
            async with asyncio.timeout(5):
                await heard.wait()
    await listening.shutdown()
    await telling.shutdown()

    assert _DEAF not in caplog.text


_SETTINGS = """
SELECT current_setting('plan_cache_mode'), current_setting('jit'), current_setting('enable_seqscan'),
       current_setting('enable_bitmapscan'), current_setting('enable_mergejoin'), current_setting('lock_timeout')
"""


def _run() -> str:
    return "ran"


async def _connected(url: str) -> asyncpg.Connection:
    address = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    return await asyncpg.connect(address, statement_cache_size=0)


async def _is_done(kapusta: Kapusta, task_id: int) -> bool:
    return await kapusta.get_task_status(task_id) == "success"
