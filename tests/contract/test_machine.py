"""Every backend against the model, in random stories."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from kapusta.testing import OpenBackend
from kapusta.testing.machine import hold_against_model
from kapusta_jsonfile import JsonFileCRUD
from kapusta_sqlalchemy import AlchemyCRUD
from tests.contract.handles import handles_to_one_store

_files = itertools.count()


def _sqlite(folder: Path) -> OpenBackend:
    url = f"sqlite+aiosqlite:///{folder}/{next(_files)}.db"
    return lambda clock: AlchemyCRUD(url, clock=clock)


def _jsonfile(folder: Path) -> OpenBackend:
    path = folder / f"{next(_files)}.json"
    return lambda clock: JsonFileCRUD(path, clock=clock)


def _of_server(url: str) -> OpenBackend:
    prefix = f"story_{next(_files)}_"
    return lambda clock: AlchemyCRUD(url, clock=clock, table_prefix=prefix)


@pytest.mark.parametrize(
    ("new_storage", "examples"),
    [(lambda _: handles_to_one_store(), 40), (_sqlite, 20), (_jsonfile, 40)],
    ids=["memory", "sqlite", "jsonfile"],
)
def test_a_backend_does_what_the_model_does(
    new_storage: Callable[[Path], OpenBackend], examples: int, tmp_path: Path
) -> None:
    """Whatever is asked of two handles in turn, the answers and the tasks are those of the plainest store."""
    hold_against_model(lambda: new_storage(tmp_path), examples=examples)


def test_mysql_does_what_the_model_does(mysql_url: str) -> None:
    """The same of MariaDB and MySQL; each story has tables of its own."""
    hold_against_model(lambda: _of_server(mysql_url), examples=10)


def test_postgresql_does_what_the_model_does(postgres_url: str) -> None:
    """The same of PostgreSQL."""
    hold_against_model(lambda: _of_server(postgres_url), examples=10)
