"""Everything at once on PostgreSQL, and what it costs."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from kapusta_sqlalchemy import AlchemyCRUD
from kapusta_sqlalchemy._dialects._postgresql import PostgreSQL
from kapusta_sqlalchemy._dialects._postgresql._trouble import code_of
from tests.postgresql.statements import watched
from tests.sqlalchemy.mixed import MixedLoad


async def test_a_mixed_load_loses_nothing(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of a thousand launches is settled once, by one worker, or cancelled; and there is not one deadlock."""
    handles = [AlchemyCRUD(postgres_url) for _ in range(4)]
    for handle in handles:
        await handle.startup()
    statements, load = watched(monkeypatch), MixedLoad(handles)
    troubles: Counter[str] = Counter()
    trouble = PostgreSQL.trouble

    def counted(dialect: PostgreSQL, error: Exception) -> Any:
        troubles[code_of(error) or type(error).__name__] += 1
        return trouble(dialect, error)

    monkeypatch.setattr(PostgreSQL, "trouble", counted)

    await load.run()

    assert "40P01" not in troubles
    for handle in handles:
        await handle.shutdown()
    print(f"{load}: {len(statements.asked)} statements, {statements.hints} hints; repeated: {dict(troubles)}")
