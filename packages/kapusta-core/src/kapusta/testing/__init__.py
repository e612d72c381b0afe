"""The door of the backend tester and of whoever tests tasks; importing it does not import pytest."""
