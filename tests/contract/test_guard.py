"""The guard over overridden laws, and the suite as a stranger meets it."""

from __future__ import annotations

import re
import subprocess
import sys
import types
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import ClassVar
from urllib.parse import parse_qsl, urlsplit

import pytest

import kapusta.testing
from kapusta.backend import BaseCRUD, Clock
from kapusta.testing import BackendContract
from kapusta.testing._law import laws_of
from kapusta.testing.contract import _opening
from kapusta_memory import MemoryCRUD
from tests.contract.handles import handles_to_one_store

pytest_plugins = ["pytester"]

A_LAW = "test_a_claim_starts_a_due_task"
LAWS = dict(laws_of(BackendContract))


def silent(self: object) -> None:
    """A test that says nothing."""


def copy(function: Callable[[object], None]) -> types.FunctionType:
    """The same function anew, for a mark of its own."""
    return types.FunctionType(function.__code__, function.__globals__, function.__name__)


def test_no_law_names_a_backend() -> None:
    """A law that knew one would be easier on it than on a stranger's: it asks for a capability, never for a name."""
    backends = re.compile("alchemy|sqlite|postgres|mysql|mariadb|jsonfile|memory", re.IGNORECASE)
    sources = sorted(Path(kapusta.testing.__file__).parent.rglob("*.py"))

    named = {path.name: backends.findall(path.read_text()) for path in sources}

    assert len(sources) > 15
    assert {name: found for name, found in named.items() if found} == {}


def test_overriding_a_law_fails_the_collection(pytester: pytest.Pytester) -> None:
    """A subclass that redefines a law is an error when its module is collected, which names the law."""
    pytester.makepyfile(
        f"""
        from kapusta.testing import BackendContract

        class TestMine(BackendContract):
            def {A_LAW}(self):
                pass
        """
    )

    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")

    assert result.ret == pytest.ExitCode.INTERRUPTED
    result.stdout.fnmatch_lines([f"*TypeError: TestMine.{A_LAW} overrides a law of BackendContract*"])


@pytest.mark.parametrize(
    "override",
    [
        pytest.param(silent, id="function"),
        pytest.param(None, id="removed"),
        pytest.param(pytest.mark.skip(reason="no")(copy(silent)), id="skipped"),
        pytest.param(pytest.mark.xfail()(copy(silent)), id="xfail-without-reason"),
    ],
)
def test_an_override_that_does_not_confess_is_refused(override: object) -> None:
    """Only `xfail` with a reason excuses an override: no skip, no removal, no silence."""
    with pytest.raises(TypeError, match=rf"Silent\.{A_LAW} overrides a law"):
        type("Silent", (BackendContract,), {A_LAW: override})


def test_an_override_by_another_parent_is_refused() -> None:
    """A law is not overridden unseen by a class that stands before the contract among the parents."""
    mixin = type("Mixin", (), {A_LAW: silent})

    with pytest.raises(TypeError, match="overrides a law"):
        type("Mixed", (mixin, BackendContract), {})


def test_a_law_may_be_expected_to_fail_with_a_reason() -> None:
    """`xfail(reason=...)` is the way to say that a backend does not keep a law."""
    confessed = pytest.mark.xfail(reason="the engine has no clock")(copy(silent))

    subclass = type("Honest", (BackendContract,), {A_LAW: confessed})

    assert getattr(subclass, A_LAW) is confessed


def test_tests_of_ones_own_stand_beside_the_laws() -> None:
    """A subclass may add tests and override the fixture freely."""
    subclass = type("More", (BackendContract,), {"test_mine": silent, "open_backend": None})

    assert dict(laws_of(subclass)) == dict(laws_of(BackendContract))


def test_a_law_that_a_backend_breaks_fails(pytester: pytest.Pytester) -> None:
    """The suite needs one fixture, and a broken backend fails it with the law's name."""
    pytester.makepyfile(
        """
        import pytest
        from kapusta.testing import BackendContract
        from kapusta_memory import MemoryCRUD

        class Forgetful(MemoryCRUD):
            async def claim_tasks(self, request):
                claims = await super().claim_tasks(request)
                return claims.replace(tasks=[])

        class TestForgetful(BackendContract):
            @pytest.fixture
            def open_backend(self):
                return lambda clock: Forgetful(clock=clock)
        """
    )

    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", "-k", A_LAW)

    result.assert_outcomes(failed=1, deselected=len(list(laws_of(BackendContract))) - 1)
    result.stdout.fnmatch_lines([f"FAILED *{A_LAW}*"])


def test_a_short_traceback_shows_the_hint_of_a_law(pytester: pytest.Pytester) -> None:
    """Where to look is shown without opening the suite; `--tb=short` leaves docstrings out."""
    pytester.makepyfile(
        """
        import pytest
        from kapusta.testing import BackendContract
        from kapusta_memory import MemoryCRUD

        class TestMine(BackendContract):
            @pytest.fixture
            def open_backend(self):
                return lambda clock: MemoryCRUD(clock=clock)  # to a storage of its own each time
        """
    )
    law = "test_handles_see_each_others_writes_at_once"

    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider", "--tb=short", "-k", law)

    result.assert_outcomes(failed=1, deselected=len(LAWS) - 1)
    result.stdout.fnmatch_lines(["E*If it fails: a handle reads from an old snapshot or from a cache."])


def test_laws_of_an_optional_fixture_are_skipped_in_words(pytester: pytest.Pytester) -> None:
    """A backend without a URL, an outage or a server misses the laws of it, and each says what it missed."""
    pytester.makepyfile(
        """
        import pytest
        from kapusta.testing import BackendContract
        from kapusta_memory import MemoryCRUD

        class TestMine(BackendContract):
            @pytest.fixture
            def open_backend(self):
                return lambda clock: MemoryCRUD(clock=clock)
        """
    )
    laws = "url_leads or after_an_outage or after_each_cut"

    result = pytester.runpytest_subprocess("-q", "-rs", "-p", "no:cacheprovider", "-k", laws)

    result.assert_outcomes(skipped=3, deselected=len(LAWS) - 3)
    for fixture in ("url", "outage", "server"):
        result.stdout.fnmatch_lines([f"SKIPPED*TestMine has no fixture {fixture}: *"])


def test_a_backend_of_an_earlier_protocol_keeps_the_law_of_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """An upgrade of the core breaks no backend that a stranger has written for the protocol before."""
    monkeypatch.setattr(BaseCRUD, "protocol", BaseCRUD.protocol + 1)

    LAWS["test_a_handle_shows_its_clock_and_its_facts"](BackendContract(), handles_to_one_store())


def test_a_backend_of_a_later_protocol_breaks_the_law_of_facts(monkeypatch: pytest.MonkeyPatch) -> None:
    """This core does not know what such a backend expects of it."""
    monkeypatch.setattr(MemoryCRUD, "protocol", BaseCRUD.protocol + 1)

    with pytest.raises(AssertionError):
        LAWS["test_a_handle_shows_its_clock_and_its_facts"](BackendContract(), handles_to_one_store())


class ParameterCRUD(MemoryCRUD):
    """Has two parameters: the shelf that its tasks are on, and its patience. A twin drops those named in `drops`."""

    shelves: ClassVar[dict[str, MemoryCRUD]] = {}
    drops: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, shelf: str = "", patience: str = "", *, clock: Clock | None = None) -> None:
        super().__init__(clock=clock)
        self.shelf, self.patience = shelf, patience
        self.storage = self.shelves.setdefault(shelf, self).storage

    def __repr__(self) -> str:
        return f"<ParameterCRUD shelf={self.shelf} patience={self.patience}>"

    def twin(self) -> ParameterCRUD:  # noqa: D102 - the protocol carries the docstring
        parameters = {"shelf": self.shelf, "patience": self.patience}
        kept = {name: value for name, value in parameters.items() if name not in self.drops}
        return type(self)(**kept, clock=self.clock)


@pytest.mark.parametrize(
    ("dropped", "law", "keeps"),
    [
        ("", "test_a_twin_of_an_opened_url_sees_the_same_tasks", True),
        ("", "test_a_twin_of_an_opened_url_keeps_its_parameters", True),
        ("shelf", "test_a_twin_of_an_opened_url_sees_the_same_tasks", False),
        ("patience", "test_a_twin_of_an_opened_url_keeps_its_parameters", False),
    ],
)
def test_a_twin_that_drops_a_parameter_of_its_url_breaks_a_law(
    dropped: str, law: str, keeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A parameter that decides where tasks are is missed by its tasks, any other by what the handle shows of itself."""
    monkeypatch.setattr(ParameterCRUD, "shelves", {})
    monkeypatch.setattr(ParameterCRUD, "drops", frozenset({dropped}))

    def from_url(url: str, clock: Clock) -> ParameterCRUD:
        return ParameterCRUD(**dict(parse_qsl(urlsplit(url).query)), clock=clock)

    monkeypatch.setattr(_opening, "from_url", from_url)
    expected = nullcontext() if keeps else pytest.raises(AssertionError)
    url = "shelves://?shelf=top&patience=9"

    with expected:
        LAWS[law](BackendContract(), lambda clock: from_url(url, clock), url=url)


def test_each_law_says_what_it_claims() -> None:
    """A law has a docstring: a claim that is a sentence, and what to look at if it fails."""
    silent = [
        name
        for name, law in laws_of(BackendContract)
        if not (
            law.__doc__ and law.__doc__.partition("\n")[0].endswith(".") and "If it fails: " in law.__doc__
        )
    ]

    assert silent == []


def test_the_laws_can_be_listed_and_counted() -> None:
    """`python -m kapusta.testing` prints every law with its claim and its hint, and their number."""
    printed = subprocess.run(
        [sys.executable, "-m", "kapusta.testing"], check=True, capture_output=True, text=True
    ).stdout

    names = [name for name, _ in laws_of(BackendContract)]
    assert printed.splitlines()[-1] == f"{len(names)} laws"
    assert [name.removeprefix("test_").replace("_", " ") in printed for name in names] == [True] * len(names)
    assert printed.count("\n    If it fails: ") == len(names)
    assert len(names) >= 90


def test_without_pytest_only_the_contract_is_missing() -> None:
    """Importing `kapusta.testing` needs no pytest, and asking for the contract without it says what to install."""
    program = """
import sys
sys.modules["pytest"] = None
from kapusta.testing import FaultyCRUD, ManualClock
try:
    from kapusta.testing import BackendContract
except ImportError as error:
    print(error)
assert not [name for name in sys.modules if name.startswith("_pytest")]
"""

    printed = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout

    assert 'pip install "kapusta-core[testing]"' in printed


def test_without_pytest_the_laws_cannot_be_listed() -> None:
    """`python -m kapusta.testing` ends with exit code 1 and the one line that says what to install."""
    program = """
import runpy, sys
sys.modules["pytest"] = None
runpy.run_module("kapusta.testing", run_name="__main__")
"""

    ran = subprocess.run([sys.executable, "-c", program], check=False, capture_output=True, text=True)

    assert ran.returncode == 1
    assert ran.stderr == 'BackendContract needs pytest. Install it: pip install "kapusta-core[testing]"\n'


def test_without_hypothesis_the_state_machine_says_what_to_install() -> None:
    """It is the only part that needs it, and asks for the same extra."""
    program = """
import sys
sys.modules["hypothesis"] = None
try:
    import kapusta.testing.machine
except ImportError as error:
    print(error)
"""

    printed = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout

    assert (
        printed
        == 'kapusta.testing.machine needs hypothesis. Install it: pip install "kapusta-core[testing]"\n'
    )
