"""``python -m kapusta_sqlalchemy upgrade URL``: create or migrate the tables, where ``startup()`` may not."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from kapusta.backend import StoreError

from ._crud import AlchemyCRUD, url_of
from ._dialects import said
from ._script import UnknownRevisionError, script
from ._tables import PREFIX, build_tables

URL_VARIABLE: Final = "KAPUSTA_URL"


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kapusta_sqlalchemy")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    upgrade = commands.add_parser("upgrade", help="create or migrate the tables of a store")
    upgrade.add_argument(
        "url",
        metavar="URL",
        nargs="?",
        help=f"as given to AlchemyCRUD: sqlite+aiosqlite:///tasks.db; default: the environment variable {URL_VARIABLE}, "
        "which keeps a password out of the list of processes",
    )
    upgrade.add_argument("--table-prefix", default=PREFIX, help="default: %(default)s")
    upgrade.add_argument("--schema", help="the database schema of the tables")
    upgrade.add_argument(
        "--sql",
        action="store_true",
        help="print the SQL that does it, and leave the database alone; needs no driver",
    )
    upgrade.add_argument(
        "--from",
        dest="start",
        metavar="REVISION",
        help=f"with --sql: the revision that the store has, which its table {PREFIX}alembic_version names; without, "
        "the script is for a database that has no store",
    )
    options = parser.parse_args(arguments)
    url = options.url or os.environ.get(URL_VARIABLE)
    if not url:
        parser.error(f"give the URL, or set {URL_VARIABLE}")
    if options.start is not None and not options.sql:
        parser.error("--from goes with --sql; without, the database is asked")

    try:
        if options.sql:
            _print_script(url, options.table_prefix, options.schema, options.start)
        else:
            asyncio.run(_upgrade(url, options.table_prefix, options.schema))
    except (StoreError, UnknownRevisionError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except SQLAlchemyError as error:
        sys.stderr.write(
            f"The database did not carry out the upgrade: {said(error)}. "
            "Check what --schema and --table-prefix name.\n"
        )
        return 1
    return 0


async def _upgrade(url: str, prefix: str, schema: str | None) -> None:
    crud = AlchemyCRUD(url, table_prefix=prefix, schema=schema)
    await crud.startup()
    await crud.shutdown()


def _print_script(url: str, prefix: str, schema: str | None, start: str | None) -> None:
    sys.stdout.write(script(url_of(url), build_tables(prefix, schema), start=start))


if __name__ == "__main__":
    sys.exit(main())
