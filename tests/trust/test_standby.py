"""PostgreSQL with a synchronous standby that takes over in the middle of a load."""

from __future__ import annotations

from pathlib import Path

from kapusta.backend import Claims, StoreUnavailableError
from kapusta_sqlalchemy import AlchemyCRUD
from tests.servers.standby import Pair
from tests.sqlalchemy.records import claim, new, settled
from tests.trust.trial import HALF, Trial
from tests.worker.eventually import eventually


async def test_nothing_acknowledged_is_lost_when_the_standby_takes_over(pair: Pair, tmp_path: Path) -> None:
    """Promoted, and the primary killed: by a URL that names both, workers and launches move over; no outcome is doubled."""
    trial = Trial(tmp_path)
    await eventually(lambda: pair.is_in_step, "the primary waits for its standby")

    async with trial.under_load([pair.url] * 3, pair.url):
        await trial.acknowledged(HALF)
        pair.promote()
        pair.kill_primary()
        await trial.acknowledged(HALF)

    print(trial.figures())
    assert not trial.violations(), trial.log()[-4000:]
    assert pair.standby.ask("SELECT count(*) FROM kapusta_task") == len(trial.rows)


async def test_a_claim_that_the_new_primary_never_heard_of_settles_nothing(pair: Pair) -> None:
    """Without waiting for the standby, a failover gives the same run of a task twice: who has it now is told by the worker."""
    await eventually(lambda: pair.is_in_step, "the primary waits for its standby")
    store = AlchemyCRUD(pair.url)
    await store.startup()
    await store.add_tasks([new()])
    pair.fall_behind()
    await eventually(lambda: pair.is_apart, "they do not speak any more")

    [lost] = (await store.claim_tasks(claim(worker="first"))).tasks
    pair.promote()
    pair.kill_primary()
    [found] = (await eventually(lambda: _claimed(store, "second"), "the store is reached again")).tasks
    [late] = await store.change_tasks([settled(lost, worker="first")])
    [kept] = await store.change_tasks([settled(found, worker="second")])
    await store.shutdown()

    assert (lost.id, lost.run) == (found.id, found.run), "the failover has lost the first claim"
    assert (late.answer, kept.answer) == ("refused", "accepted")


async def _claimed(store: AlchemyCRUD, worker: str) -> Claims | None:
    try:
        return await store.claim_tasks(claim(worker=worker))
    except StoreUnavailableError:
        return None
