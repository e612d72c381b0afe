"""The command line: ``python -m kapusta worker package.module:kapusta``, ``python -m kapusta backends``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from ._crud import BaseCRUD
    from ._plugins import Plugins
    from ._records import Capabilities

from . import _installed  # noqa: F401 - refuses a mixture before anything of it is imported

_BROKEN: Final = "broken: "
_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out one command; answer the exit code."""
    options = _parser().parse_args(arguments)
    code: int = options.run(options)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m kapusta", description="Kapusta's command line.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    worker = commands.add_parser(
        "worker",
        help="run tasks without an application around them",
        description="Run the tasks of a Kapusta in processes of their own, and restart one that dies. SIGTERM and "
        "SIGINT let running tasks finish; a second one stops at once.",
    )
    worker.add_argument(
        "target", metavar="MODULE:KAPUSTA", help="where the Kapusta is: package.module:kapusta"
    )
    worker.add_argument(
        "--processes", type=_count, default=1, metavar="N", help="how many processes (default: 1)"
    )
    worker.add_argument(
        "--log-level",
        type=_level,
        default="INFO",
        metavar="LEVEL",
        help=f"from which level on to log: {', '.join(_LEVELS)} (default: INFO)",
    )
    worker.add_argument("--lifeline", type=int, help=argparse.SUPPRESS)  # set for the processes of a fleet
    worker.set_defaults(run=_worker)
    backends = commands.add_parser("backends", help="list what is installed, and what is broken and why")
    backends.set_defaults(run=_backends)
    return parser


def _worker(options: argparse.Namespace) -> int:
    from . import _fleet, _serve

    _serve.set_up_logging(options.log_level)
    if options.lifeline is not None:
        return _serve.serve(options.target, lifeline=options.lifeline)
    return _fleet.lead(options.target, processes=options.processes, log_level=options.log_level)


def _backends(_: argparse.Namespace) -> int:
    from ._plugins import installed

    plugins = installed()
    is_broken = bool(plugins.broken)
    for distribution, backend in plugins.backends:
        exports = f", names: {', '.join(backend.exports)}" if backend.exports else ""
        print(f"{backend.name}, from {distribution}{exports}")  # noqa: T201 - its output
        for schemes, facts in _by_facts(plugins, backend.schemes):
            print(f"  {', '.join(f'{scheme}://' for scheme in schemes)}")  # noqa: T201 - its output
            print(f"    {facts}")  # noqa: T201 - its output
            is_broken |= facts.startswith(_BROKEN)
    for broken in plugins.broken:
        print(f"{_BROKEN}{broken}")  # noqa: T201 - its output
    if not plugins.backends:
        print("No backend is installed. Try: pip install kapusta-sqlalchemy")  # noqa: T201 - its output
    return 1 if is_broken else 0


def _by_facts(plugins: Plugins, schemes: Sequence[str]) -> Iterator[tuple[list[str], str]]:
    """The schemes whose stores have the same capabilities, and these, for people."""
    found: dict[str, list[str]] = {}
    for scheme in schemes:
        found.setdefault(_facts(plugins, scheme), []).append(scheme)
    for facts, alike in found.items():
        yield alike, facts


def _facts(plugins: Plugins, scheme: str) -> str:
    """The capabilities of a store, as its handle states them: making one opens nothing."""
    from ._errors import BackendTooNewError, BrokenPluginError, DuplicateBackendError, MissingDriverError
    from ._store import refuse_newer

    try:
        handle = _opened(plugins, scheme)
        refuse_newer(handle)
    except MissingDriverError as problem:
        return f"needs {problem.driver}, which is not installed. Run: {problem.command}"
    except (BackendTooNewError, BrokenPluginError, DuplicateBackendError) as problem:
        return f"{_BROKEN}{problem}"
    except Exception as problem:  # noqa: BLE001 - a plugin may raise anything, and the others are still to be listed
        return f"capabilities unknown: {problem}"
    return _in_words(handle.capabilities)


def _opened(plugins: Plugins, scheme: str) -> BaseCRUD:
    from ._errors import StoreUrlError

    try:
        return plugins.from_url(f"{scheme}:///kapusta")
    except StoreUrlError:
        return plugins.from_url(f"{scheme}://")  # some kinds of store have no path


def _in_words(capabilities: Capabilities) -> str:
    facts = {name: getattr(capabilities, name) for name in capabilities.__struct_fields__}
    words = [name.replace("_", " ") for name, value in facts.items() if value is True]
    words += [
        f"{name.replace('_', ' ')} {value / timedelta(milliseconds=1):g} ms"
        for name, value in facts.items()
        if isinstance(value, timedelta)
    ]
    return ", ".join(words)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(
            f"'{text}' is no number of processes; give a whole number, 1 or more"
        )
    return int(text)


def _level(text: str) -> str:
    if text.upper() not in _LEVELS:
        raise argparse.ArgumentTypeError(f"'{text}' is no log level; give one of: {', '.join(_LEVELS)}")
    return text.upper()


if __name__ == "__main__":
    sys.exit(main())
