"""MariaDB and MySQL."""

from ._dialect import MySQL

__all__ = ["MySQL"]
