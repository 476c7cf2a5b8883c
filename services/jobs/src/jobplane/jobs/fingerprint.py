"""Which failures have the same cause: a fingerprint over the error without what differs from run to run."""

import hashlib
import re
from pathlib import PureWindowsPath
from typing import Final

from jobplane.contracts.jobs import MAX_MESSAGE_CHARS, MAX_STACK_CHARS

TOP_FRAMES: Final = 2
"""The innermost frames tell, beside type and message, the cause; those further out tell which kind of job called."""

_MAX_LINE_CHARS: Final = 500

# Errors are written by strangers: every pattern takes time linear in the text.
_VARIABLE: Final = (
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE), "<uuid>"),
    (re.compile(r"""(?<!\w)'[^'\n]*'(?!\w)|"[^"\n]*"|`[^`\n]*`"""), "<text>"),
    (re.compile(r"\b[a-z][a-z0-9+.-]{0,15}://\S+", re.IGNORECASE), "<url>"),
    (re.compile(r"(?:\b[A-Za-z]:)?(?:[/\\][\w.@~+-]+){2,}"), "<path>"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b(?=[a-f]*[0-9])[0-9a-f]{8,}\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"\d+(?:[.,:]\d+)*"), "<n>"),
    (re.compile(r"\s+"), " "),
)
_OURS: Final = re.compile(r"[/\\]jobplane[/\\]worker[/\\][a-z_]+\.py$")
"""Between a handler and what it runs in a thread lie frames that are the same for all."""
_FRAME: Final = re.compile(r'^[ \t]*File "(?P<file>[^"\n]+)", line \d+, in (?P<function>.+)$', re.MULTILINE)


def fingerprint(error_type: str, message: str, stack: str | None) -> str:
    """16 hexadecimal digits over the type, the message without its variable parts, and the innermost frames.

    Numbers, hexadecimal words, UUIDs, quoted texts, addresses and paths in the message are replaced by a word for what
    they are; frames keep the file's name and the function, not the directory and the line, so that a deployment or an
    edit elsewhere in the file does not split a group. Stacks of other languages count by their lines without numbers.
    """
    parts = (error_type, _normalised(message[:MAX_MESSAGE_CHARS]), *_frames((stack or "")[-MAX_STACK_CHARS:]))
    return hashlib.sha256("\n".join(parts).encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _normalised(text: str) -> str:
    for pattern, word in _VARIABLE:
        text = pattern.sub(word, text)
    return text.strip()


def _frames(stack: str) -> list[str]:
    """The innermost frames of a Python stack, as ``file:function``; of another stack its heading and first lines."""
    frames = _FRAME.findall(stack)
    if frames:
        theirs = [frame for frame in frames if not _OURS.search(frame[0])] or frames
        return [f"{PureWindowsPath(file).name}:{function}" for file, function in theirs[-TOP_FRAMES:]]
    lines = [line[:_MAX_LINE_CHARS] for line in stack.splitlines() if line.strip()]
    return [_normalised(line) for line in lines[: 1 + TOP_FRAMES]]
