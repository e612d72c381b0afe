"""How the schema came to be, revision by revision.

Each revision also writes ``schema_version``, and ``minimum_reader`` where older code would do harm, into the
store's row: that is what ``startup()`` looks at.
"""
