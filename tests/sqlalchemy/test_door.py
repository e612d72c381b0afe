"""What the distribution shows, and what looking at it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import kapusta_sqlalchemy
from kapusta_sqlalchemy._plugin import kapusta_backends


def test_looking_for_plugins_imports_no_engine() -> None:
    """The plugin module and the package itself load neither SQLAlchemy nor a driver nor Alembic."""
    code = (
        "import sys, kapusta_sqlalchemy, kapusta_sqlalchemy._plugin as plugin\n"
        "plugin.kapusta_backends()\n"
        "print(sorted({'sqlalchemy', 'aiosqlite', 'sqlite3', 'alembic'} & set(sys.modules)))\n"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert ran.stdout == "[]\n"


def test_the_plugin_offers_one_backend(url: str) -> None:
    """It answers for the schemes of SQLite, makes a handle from a URL, and exports `AlchemyCRUD`."""
    [backend] = kapusta_backends()

    assert backend.name == "sqlalchemy"
    assert {"sqlite", "sqlite+aiosqlite"} <= set(backend.schemes)
    assert backend.exports["AlchemyCRUD"]() is kapusta_sqlalchemy.AlchemyCRUD
    assert isinstance(backend.from_url(url, None), kapusta_sqlalchemy.AlchemyCRUD)


def test_every_public_name_is_there() -> None:
    """`__all__` can be imported and is listed; another name is an `AttributeError` like any module's."""
    for name in kapusta_sqlalchemy.__all__:
        assert name in dir(kapusta_sqlalchemy)
        assert getattr(kapusta_sqlalchemy, name) is not None

    with pytest.raises(AttributeError, match="has no attribute 'AlchemyCrud'"):
        kapusta_sqlalchemy.AlchemyCrud  # type: ignore[attr-defined]  # noqa: B018 - the mistake
