"""What is wrong with a part of a request, in words: nobody who reads it has to read a regular expression."""

import difflib
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

from jobplane.contracts.assets import ASSET_PATTERN
from jobplane.contracts.commands import KIND_PATTERN, TAG_PATTERN
from jobplane.contracts.dead_letters import PART_PATTERN
from jobplane.contracts.job_filter import FINGERPRINT_PATTERN
from jobplane.contracts.subjects import QUEUE_PATTERN, WORKER_PATTERN

VISIBLE_PATTERN: Final = r"^[\x21-\x7e]+$"
"""Of keys that clients make up."""
VERSION_PATTERN: Final = r"^(\*|\"[0-9]{1,9}\")$"
"""Of If-Match."""
_PATTERNS: Final[Mapping[str, str]] = {
    QUEUE_PATTERN: "a queue has 1 to 64 lower-case letters, digits, _ and - only",
    KIND_PATTERN: "a kind has 1 to 100 letters, digits and _ . - only, and begins with a letter, a digit or _",
    WORKER_PATTERN: "a worker has 1 to 64 letters, digits, _ and - only",
    PART_PATTERN: "write 1 to 64 letters, digits, _ and - only",
    ASSET_PATTERN: "a file has 1 to 100 letters, digits, _ and - only",
    FINGERPRINT_PATTERN: "a fingerprint has 16 hexadecimal digits, in lower case",
    VISIBLE_PATTERN: "write letters, digits and other visible ASCII characters only, without a space",
    VERSION_PATTERN: 'write the version of the job in double quotes, e.g. "3", or * for any',
    TAG_PATTERN: "a tag has no space, no comma and no control character",
}
_OTHERWISE: Final = "it has characters that are not allowed here, such as control characters"


_INSTANT: Final = "write the instant with its time zone, as 2026-11-22T12:00:00Z"
_OBJECT: Final = 'write a JSON object: {"name": value, …}'
_PLAIN: Final[Mapping[str, str]] = {
    "missing": "it is needed: say it",
    "json_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
    "dict_type": _OBJECT,
    "list_type": 'write a list, e.g. ["a", "b"]',
    "string_type": 'write text in quotes, e.g. "a"',
    "string_unicode": "write text in UTF-8",
    "finite_number": "write a finite number",
    "decimal_parsing": "write a number",
    "none_required": "leave it out",
}
"""By the type of the error."""
_FAMILIES: Final[Mapping[str, str]] = {
    "uuid": "an id is written like 01920a3c-7f00-7a00-8000-0123456789ab",
    "datetime": _INSTANT,
    "timezone": _INSTANT,
    "int": "write a whole number",
    "float": "write a number",
    "bool": "write true or false",
}
"""By what the type of the error begins with."""
_SHOWN: Final = 100


def told(error: Mapping[str, Any]) -> str:
    """One error of a validation, without anything of what was sent."""
    type_, context = str(error["type"]), error.get("ctx") or {}
    match type_:
        case "string_pattern_mismatch":
            return _PATTERNS.get(context.get("pattern", ""), _OTHERWISE)
        case "json_invalid":
            return _no_json(str(context.get("error", "")))
        case "extra_forbidden":
            return no_such("field", str(error["loc"][-1]), context.get("known", ()))
        case "enum" | "literal_error":
            return _choice(str(context["expected"]).replace("'", ""), error.get("input"))
        case "string_too_short" | "string_too_long" | "too_short" | "too_long":
            return _length(type_, context)
    return _bound(type_, context) or _PLAIN.get(type_) or _FAMILIES.get(type_.partition("_")[0]) or _own(error)


def _own(error: Mapping[str, Any]) -> str:
    """Ours are sentences already."""
    return str(error["msg"]).removeprefix("Value error, ")


def _no_json(why: str) -> str:
    return _OBJECT if why.startswith("EOF") and why.endswith("column 0") else f"this is no JSON: {why}"


def _choice(expected: str, given: object) -> str:
    near = difflib.get_close_matches(str(given)[:_SHOWN], expected.replace(" or ", ", ").split(", "), n=1)
    return f"there is no such value: did you mean {near[0]}?" if near else f"write {expected}"


def _length(type_: str, context: Mapping[str, Any]) -> str:
    least, most = context.get("min_length"), context.get("max_length")
    otherwise = "" if context.get("needed") else ", or leave it out"
    secret = context.get("field_type") == "Value"
    match f"string_{type_}" if secret else type_:
        case "string_too_short":
            return f"say something{otherwise}" if least == 1 else f"write at least {least} characters"
        case "string_too_long":
            return f"write at most {most} characters"
        case "too_short":
            return f"give at least one{otherwise}" if least == 1 else f"give at least {least}"
        case _:
            return f"give at most {most}"


def _bound(type_: str, context: Mapping[str, Any]) -> str | None:
    match type_:
        case "greater_than_equal":
            return f"write at least {context['ge']}"
        case "less_than_equal":
            return f"write at most {context['le']}"
        case "greater_than":
            return f"write more than {context['gt']}"
        case "less_than":
            return f"write less than {context['lt']}"
        case _:
            return None


def no_such(what: str, name: str, known: Collection[str]) -> str:
    """A name that means nothing: what it is near to, or which there are."""
    near = difflib.get_close_matches(name[:_SHOWN], known, n=1)
    if near:
        return f"there is no such {what}: did you mean {near[0]}?"
    return f"there is no such {what}; there are {', '.join(sorted(known))}" if known else f"there is no such {what}"


def summary(loc: Sequence[str | int], sentence: str) -> str:
    """Where something is wrong, and what, as one sentence: ``filter: say something, or leave it out.``."""
    # Parameters have no numbers where they stand: those of an address are given one after the other.
    within = [str(name) for name in loc[1:] if loc[0] != "query" or isinstance(name, str)]
    place = ".".join(within or map(str, loc))[:_SHOWN]
    return f"{place}: {sentence}{'' if sentence.endswith('?') else '.'}"
