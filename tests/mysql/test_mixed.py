"""Everything at once on MariaDB, and what it costs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from kapusta_sqlalchemy import AlchemyCRUD
from kapusta_sqlalchemy._dialects._mysql import MySQL, _session
from tests.sqlalchemy.mixed import MixedLoad


class _Counts:
    """What the store's handles did meanwhile."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.packets = self.statements = 0
        self.troubles: Counter[str] = Counter()
        send, trouble = _session._send, MySQL.trouble

        async def counting_send(driver: Any, packet: bytes) -> list[Any]:
            self.packets += 1
            self.statements += packet.count(b";\n") + 1
            return await send(driver, packet)

        def counting_trouble(dialect: MySQL, error: Exception) -> Any:
            found = trouble(dialect, error)
            if found is not None:
                self.troubles[found.problem] += 1
            return found

        monkeypatch.setattr(_session, "_send", counting_send)
        monkeypatch.setattr(MySQL, "trouble", counting_trouble)


async def test_a_mixed_load_loses_nothing(mysql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of hundreds of launches is settled once by one worker, or cancelled; no operation fails in the end."""
    handles = [AlchemyCRUD(mysql_url) for _ in range(4)]
    for handle in handles:
        await handle.startup()
    counts, load = _Counts(monkeypatch), MixedLoad(handles)

    await load.run()

    for handle in handles:
        assert handle._started is not None
        assert handle._started.engine.pool.checkedout() == 0  # type: ignore[attr-defined]  # a pool that counts
        await handle.shutdown()
    print(
        f"{load}: {counts.statements} statements in {counts.packets} packets; repeated: {dict(counts.troubles)}"
    )
