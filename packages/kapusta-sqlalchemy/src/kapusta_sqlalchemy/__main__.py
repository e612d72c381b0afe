"""``python -m kapusta_sqlalchemy upgrade URL``: create or migrate the tables, where ``startup()`` may not."""

from __future__ import annotations

import argparse
import asyncio
import sys

from kapusta.backend import StoreError

from ._crud import AlchemyCRUD
from ._tables import PREFIX


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; give the exit code."""
    parser = argparse.ArgumentParser(prog="python -m kapusta_sqlalchemy")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    upgrade = commands.add_parser("upgrade", help="create or migrate the tables of a store")
    upgrade.add_argument("url", metavar="URL", help="as given to AlchemyCRUD: sqlite+aiosqlite:///tasks.db")
    upgrade.add_argument("--table-prefix", default=PREFIX, help="default: %(default)s")
    upgrade.add_argument("--schema", help="the database schema of the tables")
    options = parser.parse_args(arguments)

    try:
        asyncio.run(_upgrade(options.url, options.table_prefix, options.schema))
    except StoreError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


async def _upgrade(url: str, prefix: str, schema: str | None) -> None:
    crud = AlchemyCRUD(url, table_prefix=prefix, schema=schema)
    await crud.startup()
    await crud.shutdown()


if __name__ == "__main__":
    sys.exit(main())
