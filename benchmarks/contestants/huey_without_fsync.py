"""Huey, with writes that a machine may lose."""

from __future__ import annotations

from benchmarks.contestants.huey import BODIES, Contestant
from benchmarks.contestants.stage import perform

if __name__ == "__main__":
    perform(Contestant(fsync=False), BODIES)
