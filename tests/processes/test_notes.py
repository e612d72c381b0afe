"""What tests read of bodies in other processes."""

from __future__ import annotations

from pathlib import Path

from tests.processes.programs import bodies


def test_a_line_that_is_just_being_written_is_not_read(tmp_path: Path) -> None:
    """A reader may come in the middle of a write; it sees whole lines, and that one when it is whole."""
    assert bodies.notes(str(tmp_path)) == []
    with (tmp_path / "notes").open("a") as written:
        written.write("17 did 1\n17 di")
        written.flush()
        assert bodies.notes(str(tmp_path)) == [["17", "did", "1"]]

        written.write("d 2\n")

    assert bodies.notes(str(tmp_path)) == [["17", "did", "1"], ["17", "did", "2"]]
