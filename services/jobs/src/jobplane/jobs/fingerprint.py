"""Which failures have the same cause: a fingerprint over the error without what differs from run to run."""

import hashlib
import re
from typing import Final

TOP_FRAMES: Final = 5
"""The innermost frames tell the cause; those further out tell who called."""

_VARIABLE: Final = (
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE), "<uuid>"),
    (re.compile(r"'[^'\n]*'|\"[^\"\n]*\"|`[^`\n]*`"), "<text>"),
    (re.compile(r"\b[a-z][a-z0-9+.-]*://\S+", re.IGNORECASE), "<url>"),
    (re.compile(r"(?:[A-Za-z]:)?(?:[/\\][\w.@~+-]+){2,}"), "<path>"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b(?=[0-9a-f]*[0-9])[0-9a-f]{8,}\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "<n>"),
    (re.compile(r"\s+"), " "),
)
_BACKSLASH: Final = chr(92)
_FRAME: Final = re.compile(r'^\s*File "(?P<file>[^"\n]+)", line \d+, in (?P<function>.+)$', re.MULTILINE)


def fingerprint(error_type: str, message: str, stack: str | None) -> str:
    """16 hexadecimal digits over the type, the message without its variable parts, and the innermost frames.

    Numbers, hexadecimal words, UUIDs, quoted texts, addresses and paths in the message are replaced by a word for what
    they are; frames keep the file's name and the function, not the directory and the line, so that a deployment or an
    edit elsewhere in the file does not split a group. Stacks of other languages count by their lines without numbers.
    """
    parts = (error_type, _normalised(message), *_frames(stack or ""))
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _normalised(text: str) -> str:
    for pattern, word in _VARIABLE:
        text = pattern.sub(word, text)
    return text.strip()


def _frames(stack: str) -> list[str]:
    found = [
        f"{file.replace(_BACKSLASH, '/').rsplit('/', 1)[-1]}:{function}" for file, function in _FRAME.findall(stack)
    ]
    if found:
        return found[-TOP_FRAMES:]
    lines = [_normalised(line) for line in stack.splitlines() if line.strip()]
    return lines[:TOP_FRAMES]
