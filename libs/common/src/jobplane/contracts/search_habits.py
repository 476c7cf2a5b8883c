"""What people write out of habit with other searches: taken word by word it would mean something else here."""

import re
from collections.abc import Mapping
from typing import Final

_LIST: Final = "several values of one key stand behind it with commas, e.g. status:failed,cancelled"
_IN_QUOTES: Final = "to search for it as it is, put it in quotes"
_AND: Final = f"all parts of a query must hold anyway: leave it out; {_IN_QUOTES}"
_OR: Final = f"there is no “or” between parts: {_LIST}; {_IN_QUOTES}"
_NOT: Final = f"write - in front of status, queue, kind or tag to exclude it, e.g. -status:failed; {_IN_QUOTES}"
_BRACKETS: Final = f"brackets mean nothing here: {_LIST}; {_IN_QUOTES}"
_QUOTES: Final = 'only double quotes hold a text together: "timed out"'
_ORDERED: Final = f"values of the payload are compared as they are, not by their order; {_IN_QUOTES}"
_WORDS: Final[Mapping[str, str]] = {
    "and": _AND, "&": _AND, "&&": _AND, "or": _OR, "|": _OR, "||": _OR, "not": _NOT, "!": _NOT,
}  # fmt: skip
_OTHER_QUOTES: Final = tuple("'`\u2018\u2019\u201a\u201c\u201d\u201e«»")
_CLOSING: Final = tuple("\u201c\u201d«»")
_COMPARED: Final = re.compile(r"(\w+)(\.[\w.-]+)?(==|!=|<>|<=|>=|=|<|>)(.*)", re.DOTALL)
_NO_PLACE: Final = re.compile(r"payload\.\S*:.*", re.DOTALL)
_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(:\d{2}.*)?[Zz]?")
_NUMBERS: Final = re.compile(r"-?\d+\.\.-?\d+")
_WITH_SIGN: Final = frozenset({"<", ">", "<=", ">="})


def of_word(text: str, keys: Mapping[str, str]) -> str | None:
    """What to write instead of a word that stands without quotes; None if it is a word.

    `keys` are all names that people may use for a key, each with the key itself.
    """
    folded = text.casefold()
    if folded in _WORDS:
        return _WORDS[folded]
    if text.startswith("!"):
        return _NOT
    of_colon = _of_colon(text)
    if of_colon is not None:
        return of_colon
    compared = _COMPARED.fullmatch(text)
    if compared is not None and compared[1].lower() in keys:
        sign = compared[3] if compared[3] in _WITH_SIGN else ""
        key = f"{keys[compared[1].lower()]}{compared[2] or ''}"
        minus = "-" if compared[3] in {"!=", "<>"} else ""
        return f"behind a key stands a colon: write {minus}{key}:{sign}{compared[4] or 'value'}; {_IN_QUOTES}"
    return _of_any(text)


def of_value(text: str, *, of_payload: bool = False) -> str | None:
    """What to write instead of a value that stands without quotes; None if it is a value."""
    if of_payload and (text.startswith(("<", ">")) or _NUMBERS.fullmatch(text)):
        return _ORDERED
    return _of_any(text)


def _of_colon(text: str) -> str | None:
    if text.startswith(":"):
        return "in front of a : stands a key, without a space between them"
    if _NO_PLACE.fullmatch(text):
        return f"a part of the path is missing: write payload.user:42 or payload.user.id:42; {_IN_QUOTES}"
    if _CLOCK.fullmatch(text):
        return f"an instant has no space in it: write 2026-11-01T12:00Z; {_IN_QUOTES}"
    return None


def _of_any(text: str) -> str | None:
    if text.startswith(("(", "[", "{")) or text.count(")") > text.count("("):
        return _BRACKETS
    if text.startswith(_OTHER_QUOTES) or text.endswith(_CLOSING):
        return _QUOTES
    return None
