"""Texts that are short enough for a message."""

from __future__ import annotations


def said(problem: Exception) -> str:
    """What an exception says; its type as well, where that is needed to understand it."""
    if isinstance(problem, (TypeError, ValueError)) and (text := str(problem)):
        return cut(text)
    return cut(f"{type(problem).__name__}: {problem}")


def brief(value: object, most: int = 500) -> str:
    """*value* as a message shows it: its beginning and its end."""
    try:
        return cut(repr(value), most)
    except Exception:  # noqa: BLE001 - it is shown only to help
        return f"an object of type {type(value).__qualname__}"


def cut(text: str, most: int = 500) -> str:
    """*text*, or the beginning and the end of it where it is long."""
    if len(text) <= most:
        return text
    half = most // 2
    return f"{text[:half]} ... {len(text) - 2 * half} characters left out ... {text[-half:]}"


def in_one_line(text: str) -> str:
    """Return *text* with every character that is not printable escaped as `repr` escapes it."""
    if text.isprintable():
        return text
    return "".join(
        each if each.isprintable() else each.encode("unicode_escape").decode("ascii") for each in text
    )
