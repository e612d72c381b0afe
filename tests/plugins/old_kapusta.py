"""A stand-in for the distribution ``kapusta`` 0.1.5: its modules, its names and its tables, and nothing behind them."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from tests.plugins import sites

MODULES: Final = {
    "kapusta/__init__.py": """
from .core import Kapusta, Task
from .crud import AlchemyCRUD, BaseCRUD
from .models import TaskExecutionMode, TaskStatus

version = "0.1.5"
""",
    "kapusta/core.py": """
class KapustaError(Exception): ...
class KapustaValueError(KapustaError): ...
class KapustaSyncTaskTimeoutError(KapustaError): ...
class KapustaExecutionModeError(KapustaError): ...
class Task: ...
class Kapusta:
    def __init__(self, crud): self.crud = crud
""",
    "kapusta/crud.py": """
class BaseCRUD: ...
class AlchemyCRUD(BaseCRUD):
    def __init__(self, url): self.url = url
""",
    "kapusta/models.py": """
from enum import Enum

TaskStatus = Enum("TaskStatus", "pending started success error timeout overdue")
TaskExecutionMode = Enum("TaskExecutionMode", "sync async_ thread process")
""",
    "kapusta/types.py": """
Seconds = int
TaskId = str
""",
}

TABLES: Final = """
CREATE TABLE kapusta_tasks (
    id VARCHAR(36) NOT NULL PRIMARY KEY,
    function VARCHAR NOT NULL,
    kwargs BLOB,
    status VARCHAR(7) NOT NULL,
    execution_mode VARCHAR(7) NOT NULL,
    eta DATETIME,
    overdue_time DATETIME,
    max_retry_attempts INTEGER NOT NULL,
    timeout INTEGER
);
CREATE INDEX ix_kapusta_tasks_status ON kapusta_tasks (status);
CREATE TABLE kapusta_result_backends (
    id INTEGER NOT NULL PRIMARY KEY,
    task_id VARCHAR(36) NOT NULL UNIQUE REFERENCES kapusta_tasks (id),
    result BLOB
);
CREATE INDEX ix_kapusta_result_backends_task_id ON kapusta_result_backends (task_id);
CREATE TABLE alembic_version (version_num VARCHAR(32) NOT NULL PRIMARY KEY);
INSERT INTO kapusta_tasks VALUES
    ('a', 'shop.remind', x'80049500', 'pending', 'async_', '2024-05-01 12:00:00', NULL, 0, 60),
    ('b', 'shop.remind', x'80049501', 'started', 'process', NULL, '2024-05-02 12:00:00', 3, NULL),
    ('c', 'shop.export', x'80049502', 'success', 'thread', NULL, NULL, 0, 60);
INSERT INTO kapusta_result_backends VALUES (1, 'c', x'80049503');
INSERT INTO alembic_version VALUES ('5c1b0a7d2f4e');
"""
"""Two tables as it makes them, in the midst of use, and the mark of the application's own migrations."""

NAMES: Final = frozenset({"kapusta_tasks", "kapusta_result_backends", "status", "execution_mode"})
"""What it calls its tables, and on PostgreSQL its types."""


def write_wheel(into: Path) -> Path:
    """Make the wheel."""
    return sites.write_wheel(into, "kapusta", "0.1.5", MODULES)


def write_database(path: Path) -> None:
    """Make a database that it has used, and may use again."""
    connection = sqlite3.connect(path)
    connection.executescript(TABLES)
    connection.close()
