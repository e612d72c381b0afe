"""Is the distribution ``kapusta`` installed, which owned this import package up to 0.1.5: asked when imported."""

from __future__ import annotations

from pathlib import Path


class ConflictingDistributionError(ImportError):
    """Two distributions have written into one import package; which files are whose depends on the order."""

    def __init__(self, *, found: str) -> None:
        self.found = found
        super().__init__(
            f"'{found}' is installed beside kapusta-core, and both own the import package 'kapusta': one has "
            f"overwritten files of the other. Run: pip uninstall -y kapusta kapusta-core && "
            f"pip install kapusta-core"
        )


def refuse_old_distribution(site: Path = Path(__file__).parents[1]) -> None:
    """Raise if the distribution ``kapusta`` lies beside this package in *site*.

    Asked of the folder, not of ``importlib.metadata``, whose import alone takes 40 ms.

    Raises:
        ConflictingDistributionError: it does.
    """
    for pattern in ("kapusta-*.dist-info", "kapusta-*.egg-info"):
        for found in site.glob(pattern):
            raise ConflictingDistributionError(found=found.stem)


refuse_old_distribution()
