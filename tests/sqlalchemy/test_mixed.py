"""Everything at once on SQLite, and what it costs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from kapusta_sqlalchemy import AlchemyCRUD
from kapusta_sqlalchemy._dialects._sqlite import SQLite
from tests.sqlalchemy.mixed import MixedLoad
from tests.sqlalchemy.statements import watched


async def test_a_mixed_load_loses_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each of hundreds of launches is settled once by one worker, or cancelled; whoever finds the file locked waits."""
    handles = [AlchemyCRUD(f"sqlite+aiosqlite:///{tmp_path}/tasks.db") for _ in range(4)]
    for handle in handles:
        await handle.startup()
    statements, load = watched(monkeypatch), MixedLoad(handles)
    troubles: Counter[str] = Counter()
    trouble = SQLite.trouble

    def counted(dialect: SQLite, error: Exception) -> Any:
        found = trouble(dialect, error)
        if found is not None:
            troubles[found.problem] += 1
        return found

    monkeypatch.setattr(SQLite, "trouble", counted)

    await load.run()

    for handle in handles:
        await handle.shutdown()
    print(f"{load}: {len(statements.asked)} statements; repeated: {dict(troubles)}")
