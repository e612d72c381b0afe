"""The promised example, as it was promised; run by `nox -s isolated`, in an empty folder.

``check_sqlalchemy.py [URL]``: without a URL, on SQLite.
"""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import kapusta_sqlalchemy

home = Path(kapusta_sqlalchemy.__file__).parent
assert home.is_relative_to(sys.prefix), (
    f"kapusta_sqlalchemy was imported from {home}, not from the installed wheel"
)
assert (home / "py.typed").is_file(), "the wheel does not carry py.typed, so no type checker will read it"

brought = [name for name in ["kapusta_memory", "pytest"] if importlib.util.find_spec(name)]
assert not brought, f"installing the SQL backend brought {brought}"

url = sys.argv[1] if len(sys.argv) > 1 else "sqlite+aiosqlite:///tasks.db"
promised = Path(__file__).with_name("simple_example.py").read_text()
assert promised.count("'...'") == 1, "the example has one place to fill in: DB_URL"
Path("example.py").write_text(promised.replace("'...'", repr(url)))

ran = subprocess.run([sys.executable, "example.py"], capture_output=True, text=True, timeout=60, check=False)
assert ran.returncode == 0, f"the example ended with {ran.returncode}:\n{ran.stderr}"
assert ran.stdout == "test\n", f"the example printed {ran.stdout!r}, and on stderr:\n{ran.stderr}"
assert not ran.stderr, f"the example printed on stderr:\n{ran.stderr}"

print(f"sqlalchemy on {url.partition(':')[0]}: ok, the example printed:", ran.stdout.strip())
