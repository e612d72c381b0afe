"""``python -m kapusta.testing`` prints the laws that a backend is held against, with their claims."""

from __future__ import annotations

import sys

from ._law import laws_of


def main() -> int:
    """Print each law and the first line of its claim, and how many there are; give the exit code."""
    try:
        from . import BackendContract
    except ImportError as missing:
        sys.stderr.write(f"{missing}\n")
        return 1
    laws = list(laws_of(BackendContract))
    for name, law in laws:
        claim = (law.__doc__ or "").strip().partition("\n")[0]
        sys.stdout.write(f"{name.removeprefix('test_').replace('_', ' ')}\n    {claim}\n")
    sys.stdout.write(f"{len(laws)} laws\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
