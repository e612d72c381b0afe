"""``python -m kapusta.testing`` prints the laws that a backend is held against, each with its claim and its hint."""

from __future__ import annotations

import sys

from ._law import claim_of, hint_of, laws_of


def main() -> int:
    """Print each law, its claim and its hint, and the number of laws; return the exit code."""
    try:
        from . import BackendContract
    except ImportError as missing:
        sys.stderr.write(f"{missing}\n")
        return 1
    laws = list(laws_of(BackendContract))
    for name, law in laws:
        title = name.removeprefix("test_").replace("_", " ")
        sys.stdout.write(f"{title}\n    {claim_of(law)}\n    {hint_of(law)}\n")
    sys.stdout.write(f"{len(laws)} laws\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
