"""Kapusta and its peers, measured side by side: `nox -s bench`, or `python -m benchmarks --help`."""
