"""What is wrong with a part of a request, in words: nobody who reads it has to read a regular expression."""

from collections.abc import Mapping
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
_UUID: Final = "an id is written like 01920a3c-7f00-7a00-8000-0123456789ab"


def told(error: Mapping[str, Any]) -> str:
    """One error of a validation, without anything of what was sent."""
    match error["type"]:
        case "string_pattern_mismatch":
            return _PATTERNS.get(error.get("ctx", {}).get("pattern", ""), _OTHERWISE)
        case "uuid_parsing" | "uuid_type":
            return _UUID
        case _:
            return str(error["msg"]).removeprefix("Value error, ")
