"""What `alembic revision --autogenerate` makes of a database in which Kapusta's tables stand beside a user's own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, create_engine, text
from sqlalchemy.ext.asyncio import create_async_engine

from kapusta_sqlalchemy import AlchemyCRUD, include_object
from kapusta_sqlalchemy._migrate import alembic_config
from kapusta_sqlalchemy._tables import build_tables
from tests.docs.pages import DOCS, blocks_of

PLACES = [
    pytest.param("url", {}, id="sqlite"),
    pytest.param("url", {"table_prefix": "shop_"}, id="sqlite-prefix"),
    pytest.param("url", {"table_prefix": 'my "own" %s {0} '}, id="sqlite-odd-prefix"),
    pytest.param("postgres_url", {}, id="postgresql"),
    pytest.param("postgres_url", {"schema": "tasks"}, id="postgresql-schema"),
    pytest.param("postgres_url", {"schema": "tasks", "table_prefix": "shop_"}, id="postgresql-schema-prefix"),
    pytest.param("mysql_url", {}, id="mariadb"),
    pytest.param("mysql_url", {"table_prefix": "shop_"}, id="mariadb-prefix"),
]
# Tables of a user's own with names such as ours are. The last has every column that Kapusta's has had, but another name.
DROPPED = {
    "stranger": "id INTEGER PRIMARY KEY",
    "shop_todo_task": "id INTEGER PRIMARY KEY, name VARCHAR(9), eta BIGINT, status VARCHAR(9), deadline BIGINT",
    "book_store": "id INTEGER PRIMARY KEY, schema_version INTEGER",
    "settings": "id INTEGER PRIMARY KEY, schema_version INTEGER, minimum_reader INTEGER",
}


@pytest.mark.parametrize(("address", "options"), PLACES)
async def test_a_users_autogenerate_sees_the_users_tables_alone(
    address: str, options: dict[str, str], request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """With the page's `env.py`, whatever prefix and schema our tables have, none is touched; the user's all are."""
    url = request.getfixturevalue(address)
    crud = AlchemyCRUD(url, **options)
    await crud.startup()
    await crud.shutdown()
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        for name, columns in DROPPED.items():
            await connection.execute(text(f"CREATE TABLE {name} ({columns})"))
    await engine.dispose()

    generated = generate(tmp_path, url, schemas="schema" in options)

    changes = re.findall(r"op\.(\w+)\(\W*(\w+)", generated)
    assert sorted(changes) == sorted(
        [("create_table", "orders"), *(("drop_table", name) for name in DROPPED)]
    )


def generate(folder: Path, url: str, *, schemas: bool) -> str:
    """Let Alembic generate a revision in a project made as the page says; give what its `upgrade()` does."""
    page = blocks_of(DOCS / "how-to" / "choose-a-backend.md")
    files = {block.file: block.text for block in page}
    environment = files["migrations/env.py"]
    if schemas:
        known = "include_object=include_object"
        assert known in environment
        environment = environment.replace(known, f"{known}, include_schemas=True")
    alembic(folder, url, "init", "migrations")
    (folder / "migrations" / "env.py").write_text(environment)
    (folder / "shop.py").write_text(files["shop.py"])
    alembic(folder, url, "revision", "--autogenerate", "-m", "mine")
    (revision,) = (folder / "migrations" / "versions").glob("*.py")
    return revision.read_text().partition("def upgrade")[2].partition("def downgrade")[0]


def alembic(folder: Path, url: str, *words: str) -> None:
    """Run the command as a user does."""
    ran = subprocess.run(
        [sys.executable, "-m", "alembic", *words],
        cwd=folder,
        env={**os.environ, "SHOP_URL": url, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_tables_of_every_revision_are_known(tmp_path: Path) -> None:
    """A user may generate before the first start of a new version: an older schema is ours, too."""
    from alembic import command

    tables = build_tables("shop_")
    engine = create_engine(f"sqlite:///{tmp_path / 'tasks.db'}")
    with engine.connect() as connection:
        config = alembic_config(tables, connection=connection)
        revisions = [it.revision for it in ScriptDirectory.from_config(config).walk_revisions()][::-1]
        for revision in revisions:
            command.upgrade(config, revision)
            found = MetaData()
            found.reflect(connection)

            mine = {
                name
                for name, table in found.tables.items()
                if include_object(table, name, "table", True, None)
            }

            assert (revision, mine) == (revision, set())
            assert len(found.tables) >= 4
    engine.dispose()
    assert revisions


def test_a_table_in_the_users_metadata_is_the_users_whatever_its_version_is_called() -> None:
    """A table that only looks like Alembic's own is compared where a user's models have it."""
    version = build_tables("shop_").version

    assert include_object(version, version.name, "table", False, None)
    assert include_object(version, version.name, "table", True, version)
    assert not include_object(version, version.name, "table", True, None)
