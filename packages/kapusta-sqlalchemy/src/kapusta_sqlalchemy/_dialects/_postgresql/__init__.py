"""PostgreSQL, by asyncpg."""

from ._dialect import PostgreSQL

__all__ = ["PostgreSQL"]
