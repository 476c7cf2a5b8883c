"""What of a message becomes its dead letter: whatever the message is like, the letter can be sent; pure."""

import re
from collections.abc import Mapping
from typing import Final

from jobplane.contracts.dead_letters import DEAD_REASON, DEAD_SIZE, DEAD_SUBJECT

_OURS: Final = "jobplane-dead-"
_SERVERS: Final = "nats-"
"""These would tell the server what to do with the letter."""
_NAME: Final = re.compile(r"[!-9;-~]+")
"""Others cannot be read by every client; they are left out."""
_LONGEST_REASON: Final = 1000
_AROUND: Final = len(b"NATS/1.0\r\n\r\n")
_IN_A_LINE: Final = len(b": \r\n")


def letter(
    subject: str, headers: Mapping[str, str], body: bytes, reason: str, most_bytes: int
) -> tuple[dict[str, str], bytes]:
    """The headers and the body of a letter of at most so many bytes.

    Without room for all of it the headers of the message are left out, then the end of its body: a header tells so.
    """
    ours = {DEAD_REASON: one_line(reason.encode("ascii", "replace").decode())[:_LONGEST_REASON], DEAD_SUBJECT: subject}
    named = [(name, value) for name, value in headers.items() if _NAME.fullmatch(name)]
    theirs = {name: one_line(value) for name, value in named if not name.lower().startswith((_OURS, _SERVERS))}
    if _size(theirs | ours) + len(body) <= most_bytes:
        return theirs | ours, body
    if _size(ours) + len(body) <= most_bytes:
        return ours, body
    cut = ours | {DEAD_SIZE: str(len(body))}
    return cut, body[: most_bytes - _size(cut)]


def one_line(text: str) -> str:
    """A text that can stand in a header: what cannot be printed becomes a space."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()


def _size(headers: Mapping[str, str]) -> int:
    lines = (len(name.encode()) + len(value.encode()) + _IN_A_LINE for name, value in headers.items())
    return _AROUND + sum(lines)
