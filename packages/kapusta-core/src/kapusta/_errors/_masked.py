"""URLs that may be shown."""

from __future__ import annotations

import re
import shlex
from typing import Final

_SCHEME: Final = re.compile(r"[\w.+-]+:/{1,2}")  # one slash is a slip

_NO_USER: Final = re.compile(r"(?:\[[^\]]*\]|[^:/?#]*)(?::\d*)?(?:[/?#]|$)")
"""A host and a port, and then a path, a query, or the end."""

_SECRET_PARAMETER: Final = re.compile(
    r"([?&;][^=?&;#]*(?:pass|pwd|secret|token|key|auth|credential)[^=?&;#]*=)[^&;#]*", re.IGNORECASE
)


def masked(url: str) -> str:
    """*url* without its password, however it is misspelt: rather too much is hidden than too little."""
    begins = _SCHEME.match(url)
    scheme = begins[0] if begins else ""
    rest = url[len(scheme) :]
    credentials, at, place = rest.rpartition("@")
    if at:
        user, colon, _ = credentials.partition(":")
        if not colon and not scheme.endswith("//"):
            user = "***"  # what we took for the scheme may be the user
        rest = f"{user}{':***' if colon else ''}@{place}"
    elif scheme and not _NO_USER.match(rest):
        user, colon, _ = rest.partition(":")  # its host was forgotten
        rest = f"{user}{':***' if colon else ''}"
    return _SECRET_PARAMETER.sub(r"\1***", scheme + rest)


def masked_command(command: str) -> str:
    """A command line without its URL's password: each of its words is masked, and then what follows from a URL on.

    Word by word what is left of a URL is one. A word that was quoted wrongly may end within the password.
    """
    try:
        command = shlex.join(map(masked, shlex.split(command)))
    except ValueError:
        command = masked(command)
    begins = _SCHEME.search(command)
    return command if begins is None else command[: begins.start()] + masked(command[begins.start() :])
