"""Kapusta's tasks in one JSON file: a whole backend, to be read and copied."""

from ._crud import JsonFileCRUD

__all__ = ["JsonFileCRUD"]
