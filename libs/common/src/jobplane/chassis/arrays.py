"""Columns of many rows as array literals of PostgreSQL.

One statement then writes any number of rows (`INSERT … SELECT … FROM unnest(…)`), and a literal made here costs a
tenth of what the driver's list adapter takes.
"""

from collections.abc import Iterable


def plain(values: Iterable[object]) -> str:
    """Values whose text needs no quotes: numbers, booleans, uuids, instants; None is NULL."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def texts(values: Iterable[str | None]) -> str:
    """Any text, also JSON or the literal of an inner array; None is NULL."""
    return "{" + ",".join(["NULL" if value is None else _quoted(value) for value in values]) + "}"


def bytes_(values: Iterable[bytes]) -> str:
    """Byte strings, for bytea[]."""
    return "{" + ",".join([f'"\\\\x{value.hex()}"' for value in values]) + "}"


def _quoted(text: str) -> str:
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    return '"' + text.replace('"', '\\"') + '"'
