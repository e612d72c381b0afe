"""``python -m kapusta.testing`` prints the laws that a backend is held against, with their claims."""

from __future__ import annotations

import sys

from . import BackendContract
from ._law import laws_of


def main() -> None:
    """Print each law and the first line of its claim, and how many there are."""
    laws = list(laws_of(BackendContract))
    for name, law in laws:
        claim = (law.__doc__ or "").strip().partition("\n")[0]
        sys.stdout.write(f"{name.removeprefix('test_').replace('_', ' ')}\n    {claim}\n")
    sys.stdout.write(f"{len(laws)} laws\n")


if __name__ == "__main__":
    main()
