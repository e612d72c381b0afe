"""Is the distribution ``kapusta`` installed, which owned this import package up to 0.1.5: asked when imported."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

_REMEDY: Final = "pip uninstall -y kapusta kapusta-core && pip install kapusta-core"


class ConflictingDistributionError(ImportError):
    """Two distributions have written into one import package; which files are whose depends on the order."""

    def __init__(self, *, found: str) -> None:
        self.found = found
        super().__init__(
            f"'{found}' is installed beside kapusta-core, and both own the import package 'kapusta': one has "
            f"overwritten files of the other. Run: {_REMEDY}"
        )


class DamagedDistributionError(ImportError):
    """Files of this package are gone, with the distribution that had overwritten them."""

    def __init__(self) -> None:
        super().__init__(
            f"kapusta-core is installed, but its 'kapusta/__init__.py' is gone: uninstalling the distribution "
            f"'kapusta' has taken it along. Run: {_REMEDY}"
        )


def refuse_old_distribution(site: Path = Path(__file__).parents[1]) -> None:
    """Raise if the distribution ``kapusta`` lies, or has lain, beside this package in *site*.

    Asked of the folder, not of ``importlib.metadata``, whose import alone takes 40 ms.

    Raises:
        ConflictingDistributionError: it does.
        DamagedDistributionError: it did.
    """
    for pattern in ("kapusta-*.dist-info", "kapusta-*.egg-info"):
        for found in site.glob(pattern):
            raise ConflictingDistributionError(found=found.stem)
    # A folder without __init__.py can be imported all the same, as a package that has no file.
    if getattr(sys.modules[__name__.rpartition(".")[0]], "__file__", None) is None:
        raise DamagedDistributionError


refuse_old_distribution()
