"""What an error of MariaDB, MySQL or their driver means."""

from __future__ import annotations

from typing import Final

from aiomysql import Error  # type: ignore[import-untyped]  # the driver ships no types
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from .. import Trouble
from .._turns import MigratingError

DUPLICATE: Final = 1062
"""A key is there already: somebody has stored the same between our look and our write."""
LOCKED: Final = (1205, 3572)
"""A row stayed locked by another transaction, however short the wait for it was."""
FORBIDDEN: Final = (1044, 1142, 1227)
"""The user lacks a right."""

_PASSES: Final = {
    1020: "a row has changed since it was read",
    1205: "a row stayed locked by another transaction",
    1213: "a deadlock with another transaction",
    1614: "a deadlock with another transaction",
    3572: "a row is locked by another transaction",
    DUPLICATE: "another transaction has just stored the same",
    1050: "another process has just made the same table",  # on another node of a cluster, where its lock is not seen
    1061: "another process has just made the same index",
    1684: "another process is changing the table",
}
_CANNOT: Final = {
    0,  # aiomysql: the connection is closed
    1021,  # disk full
    1040,  # too many connections
    1041,
    1042,
    1043,
    1047,  # a node that is not in its cluster, or not yet
    1053,  # the server shuts down
    1077,
    1079,
    1114,  # table full
    1129,  # host blocked
    1152,
    *range(1158, 1162),  # the network, on the server's side
    1180,
    1184,
    1203,  # this user has too many connections
    1226,  # this user has used up a resource
    1290,  # read-only server
    1317,  # query interrupted
    1792,  # read-only transaction
    1836,  # read-only mode
    1927,  # connection killed
    1969,  # MariaDB: statement timeout
    *range(2000, 2015),  # the client's own: cannot connect, gone away, lost
    2055,
    3024,  # MySQL: statement timeout
    3169,  # session killed
    4031,  # MySQL: disconnected for inactivity
}
_DATA: Final = {
    1022,  # duplicate key, on a write
    1048,  # NULL in a column that takes none
    DUPLICATE,
    1118,  # row too large
    1153,  # packet larger than max_allowed_packet
    *(1216, 1217, 1451, 1452),  # foreign keys
    1264,  # out of range
    1265,  # truncated
    1292,  # wrong value
    1300,  # not of the character set
    1301,  # result larger than max_allowed_packet
    1364,  # no default
    *range(1365, 1369),  # division by zero, wrong value, illegal value, WITH CHECK OPTION
    1406,  # too long
    1411,  # wrong value for a function
    1441,  # overflow of a date
    *(1557, 1761, 1762),  # foreign keys, duplicate
    1586,  # duplicate key, named
    *(1644, 1645),  # a trigger refuses the row
    1690,  # out of range
    1713,  # row too large for the undo log
    3819,  # MySQL: CHECK
    4025,  # MariaDB: CHECK
}
"""What concerns the data of a row: MySQL's own numbers, since not every version of the driver keeps the SQLSTATE."""

ERRORS: Final[tuple[type[Exception], ...]] = (Error, DBAPIError, PoolTimeoutError, MigratingError)


def code_of(error: BaseException | None) -> int | None:
    """The number of the error, if it has one."""
    cause = error.orig if isinstance(error, DBAPIError) else error
    if not isinstance(cause, Error) or not cause.args:
        return None
    code = cause.args[0]
    # aiomysql's word for a connection that it has closed is one text: "(0, 'Not connected')"
    return code if isinstance(code, int) else 0


def is_conflict(error: Exception) -> bool:
    """Whether another transaction was in the way: the server has undone ours, and the connection works on."""
    return code_of(error) in _PASSES


def trouble_of(error: Exception) -> Trouble | None:
    if isinstance(error, MigratingError):
        return Trouble(str(error), closes=False)
    if isinstance(error, PoolTimeoutError):
        return Trouble("every connection of the pool is in use")
    code = code_of(error)
    if code in _PASSES:
        return Trouble(_PASSES[code], passes=True, closes=False)
    if code in _CANNOT:
        return Trouble(_words_of(error))
    return None


def refuses_data(error: Exception) -> bool:
    return code_of(error) in _DATA


def _words_of(error: Exception) -> str:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return str(cause.args[-1]) if cause is not None and cause.args else str(cause)
