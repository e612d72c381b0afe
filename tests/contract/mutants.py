"""One-line mutants of the memory backend, each with the law that must fail.

A row is a file, one line of it (without its indentation, and found there once), what the line becomes, and
the law. `test_mutants.py` carries them out.
"""

from __future__ import annotations

from typing import Final, NamedTuple


class Mutant(NamedTuple):
    """One line that becomes another."""

    file: str
    line: str
    becomes: str
    law: str


MUTANTS: Final = [
    # --- a handle ------------------------------------------------------------------------------------
    Mutant(
        "_crud.py",
        "if not self._started:",
        "if False:",
        "test_before_startup_every_operation_is_refused",
    ),
    Mutant("_crud.py", "self._started = False", "pass", "test_after_shutdown_every_operation_is_refused"),
    Mutant(
        "_crud.py",
        "self._started = True",
        "self._started = not self._started",
        "test_starting_twice_is_starting_once",
    ),
    Mutant("_crud.py", "self._started = False", "del self._started", "test_stopping_needs_no_start"),
    Mutant(
        "_crud.py",
        "self._started = False",
        "self._started, self.storage = False, Storage()",
        "test_a_handle_can_be_started_again",
    ),
    Mutant("_crud.py", "twin = MemoryCRUD(clock=self.clock)", "twin = MemoryCRUD()", "test_a_handle_shows_its_clock_and_its_facts"),
    Mutant("_crud.py", "twin = MemoryCRUD(clock=self.clock)", "twin = self", "test_a_twin_is_not_started"),
    Mutant("_crud.py", "twin.storage = self.storage", "pass", "test_a_twin_works_on_the_same_tasks_from_another_loop"),
]
