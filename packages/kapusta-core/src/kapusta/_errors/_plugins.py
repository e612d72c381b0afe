"""What may be wrong with plugins."""

from __future__ import annotations

from collections.abc import Sequence

from ._root import KapustaError


class BackendNotFoundError(KapustaError, LookupError):
    """No installed plugin provides a backend for a URL or a name."""

    def __init__(
        self, *, wanted: str, known: Sequence[str], broken: Sequence[str], meant: str | None = None
    ) -> None:
        self.wanted, self.known, self.broken, self.meant = wanted, tuple(known), tuple(broken), meant
        have = ", ".join(known) or "none"
        sick = f" Broken plugins: {'; '.join(broken)}." if broken else ""
        slip = f" Did you mean {meant}?" if meant else ""
        super().__init__(
            f"No installed backend provides '{wanted}'. Installed: {have}.{sick}{slip} "
            f"Install the distribution that provides it, or check the spelling."
        )


class MissingPluginError(BackendNotFoundError, ImportError):
    """A backend that Kapusta knows of is not installed."""

    def __init__(self, *, wanted: str, distribution: str, broken: Sequence[str] = ()) -> None:
        super().__init__(wanted=wanted, known=(), broken=broken)
        self.distribution = distribution
        sick = f" (broken: {'; '.join(broken)})" if broken else ""
        how = "Mend it: pip install --force-reinstall" if broken else "Install it: pip install"
        self.args = (f"'{wanted}' comes with '{distribution}'{sick}. {how} {distribution}",)
        self.msg = self.args[0]


class DuplicateBackendError(KapustaError):
    """Two distributions claim one backend name or one URL scheme."""

    def __init__(self, *, wanted: str, distributions: Sequence[str]) -> None:
        self.wanted, self.distributions = wanted, tuple(distributions)
        super().__init__(
            f"Backend '{wanted}' is provided by more than one distribution: {', '.join(distributions)}. "
            f"Uninstall all but one."
        )


class BrokenPluginError(KapustaError, ImportError):
    """A plugin could not be loaded, or answered nonsense."""

    def __init__(self, *, distribution: str, problem: str) -> None:
        self.distribution, self.problem = distribution, problem
        super().__init__(
            f"The plugin of distribution '{distribution}' is broken: {problem}. Upgrade or uninstall it."
        )


class BackendTooNewError(KapustaError):
    """A backend was written for a later version of the protocol than this core speaks."""

    def __init__(self, *, backend: str, needs: int, speaks: int) -> None:
        self.backend, self.needs, self.speaks = backend, needs, speaks
        super().__init__(
            f"{backend} was written for version {needs} of the backend protocol, and this kapusta-core speaks "
            f"version {speaks}. Run: pip install --upgrade kapusta-core"
        )
