"""What stands below secret keys: nobody may search it, and people see `MARK` in its place; pure."""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final, Self

from pydantic import JsonValue

MARK: Final = "[redacted]"
"""What people see instead of a secret."""
DEFAULT_KEYS: Final = (
    "password,passwd,passphrase,secret,token,authorization,api_key,access_key,private_key,credential,cookie"
)
_RULES: Final = "3"
"""Changes with what is hidden of texts."""
_LETTERS: Final = re.compile(r"[^a-z0-9]")
_ESCAPE: Final = re.compile(rb"\\.", re.DOTALL)
"""Of JSON: what is no letter may be written with one (a tab as `\\t`)."""
_NO_LETTERS: Final = bytes(byte for byte in range(256) if not chr(byte).isascii() or not chr(byte).isalnum())

# A key and what links it to its value; a key may be of two words ("API key: …"). Whole words are taken at once and
# never given back, so that a long text without any link is read once.
_LINK: Final = re.compile(r"(?<![\w.-])(?>[\w.-]{1,200})(?> [\w.-]{1,200})?+(?>\\*[\"')]?\s{0,8}(?:=>|[=:])\s{0,8})")
_KEY: Final = re.compile(r"[\w.-]+(?: [\w.-]+)?")
_QUOTED: Final = re.compile(
    r"""[bru]{0,2}(?:"(?>(?:[^"\\]|\\.)*)"?+|'(?>(?:[^'\\]|\\.)*)'?+)""", re.IGNORECASE | re.DOTALL
)
_QUOTED_INSIDE: Final = re.compile(r"(\\+[\"'])(?:.*?)(?:\1|\Z)", re.DOTALL)
_WORD: Final = re.compile(r"(?:(?:bearer|basic|digest|negotiate|token)\s+)?[^\s,;&\"'<>)\]}|\\]+", re.IGNORECASE)
_LINE: Final = re.compile(r"[^\r\n\"'\\]+")
_WHOLE_LINES: Final = ("authorization", "cookie")
"""Headers whose value has parts."""
_NOTHING: Final = frozenset({"", '""', "''", "None", "null", "nil", "undefined"})
"""Says that there is no secret, which often is what is wrong."""
_OPENING: Final = {"[": "]", "{": "}", "(": ")"}
_USER_OF_URL: Final = re.compile(r"(?<=://)[^/\s:@\"']{0,256}:(?P<secret>[^/\s@\"']{1,512})@")
_BEARER: Final = re.compile(
    r"\bbearer\s+(?P<secret>\[redacted\]|(?=\S{0,80}[0-9._-])[A-Za-z0-9._~+/=-]{8,})", re.IGNORECASE
)
_JWT: Final = re.compile(r"\b(?P<secret>eyJ[A-Za-z0-9_-]{8,}\.eyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{0,})")
_PEM: Final = re.compile(
    r"-----BEGIN [A-Z ]{0,40}PRIVATE KEY-----(?P<secret>.*?)(?:-----END [A-Z ]{0,40}PRIVATE KEY-----|\Z)", re.DOTALL
)
_SHAPES: Final = (b"bearer", b"eyj", b"privatekey")
"""What secrets without a key look like, squeezed."""


@dataclass(frozen=True, slots=True)
class Redaction:
    """Keys are compared without case and without what is no letter or digit; a part of a key is enough."""

    words: tuple[str, ...]

    @classmethod
    def of(cls, keys: Iterable[str]) -> Self:
        """The one for some keys."""
        return cls(tuple(sorted({word for word in map(_plain, keys) if word})))

    def hides(self, key: str) -> bool:
        """Whether what stands below this key is secret: ``userPassword`` and ``X-Api-Key`` are."""
        return _hides(self.words, key)

    def hidden(self, path: Sequence[str]) -> str | None:
        """The first key of a path that is secret."""
        return next((key for key in path if self.hides(key)), None)

    @property
    def digest(self) -> str:
        """Changes with what is hidden: the index must then be made anew."""
        return sha256(",".join((_RULES, *self.words)).encode()).hexdigest()[:16]

    def shown(self, value: JsonValue) -> JsonValue:
        """The value as people see it: whatever stands below a secret key is `MARK`, but for null and empty texts."""
        match value:
            case str():
                return self.text(value)
            case dict():
                return {key: _masked(item) if self.hides(key) else self.shown(item) for key, item in value.items()}
            case list():
                return [self.shown(item) for item in value]
            case _:
                return value

    def marked(self, value: JsonValue) -> bool:
        """Whether a secret was replaced in it: `shown` would have put `MARK` where it stands."""
        match value:
            case str():
                return MARK in value and any(value[start:end] == MARK for start, end in self._secrets(value))
            case dict():
                return any(item == MARK if self.hides(key) else self.marked(item) for key, item in value.items())
            case list():
                return any(map(self.marked, value))
            case _:
                return False

    def text(self, told: str) -> str:
        """A text as people see it: without the values of secret keys (``token=…``, ``"password": …``) and of URLs."""
        parts, end = [], 0
        for start, stop in self._secrets(told):
            parts += [told[end:start], MARK]
            end = stop
        return "".join([*parts, told[end:]]) if parts else told

    def may_hide(self, data: bytes) -> bool:
        """Whether there may be something to hide in a text or in JSON; costs nearly nothing."""
        if not self.words:
            return False
        if b"\\u" in data:  # any letter may be written so
            return True
        squeezed = [_squeezed(data)]
        if b"\\" in data:
            squeezed.append(_squeezed(_ESCAPE.sub(b"", data)))
        return any(word in one for word in (*map(str.encode, self.words), *_SHAPES) for one in squeezed) or (
            b"://" in data and b"@" in data
        )

    def _secrets(self, told: str) -> Iterator[tuple[int, int]]:
        """Where secrets stand in a text, one after the other; they do not overlap."""
        if not self.may_hide(told.encode(errors="replace")):
            return
        found = sorted({*self._named(told), *_unnamed(told)}, key=lambda span: (span[0], -span[1]))
        end = -1
        for start, stop in found:
            if start >= end:
                yield start, stop
                end = stop

    def _named(self, told: str) -> Iterator[tuple[int, int]]:
        at = 0
        while link := _LINK.search(told, at):
            at = link.end()
            key = _KEY.match(link[0])
            if key is not None and self._names(key[0]):
                start, stop = _value(told, at, whole_line=any(word in _plain(key[0]) for word in _WHOLE_LINES))
                if told[start:stop] not in _NOTHING:
                    yield start, stop
                at = max(at, stop)

    def _names(self, key: str) -> bool:
        """Whether a key in a text is a secret one: of two words the last, or both together at their end."""
        last = key.rpartition(" ")[2]
        return self.hides(last) or (last != key and _plain(key).endswith(self.words))


def _squeezed(data: bytes) -> bytes:
    lower = data.lower() if data.isascii() else data.decode(errors="replace").casefold().encode()
    return lower.translate(None, _NO_LETTERS)


def _masked(value: JsonValue) -> JsonValue:
    return value if value is None or value == "" else MARK


def _unnamed(told: str) -> Iterator[tuple[int, int]]:
    """Secrets that are known by what stands around them."""
    for pattern in (_USER_OF_URL, _BEARER, _JWT, _PEM):
        for found in pattern.finditer(told):
            yield found.span("secret")


def _value(told: str, at: int, *, whole_line: bool) -> tuple[int, int]:
    """Where the value is that begins at a place: between its quotes, if it has some; to the end if it was cut off."""
    if quoted := _QUOTED.match(told, at):
        return _within(quoted)
    if quoted := _QUOTED_INSIDE.match(told, at):
        length = len(quoted[1])
        closed = quoted[0].endswith(quoted[1]) and len(quoted[0]) >= 2 * length
        return at + length, quoted.end() - (length if closed else 0)
    if told[at : at + 1] in _OPENING:
        return at, _closing(told, at)
    plain = (_LINE if whole_line else _WORD).match(told, at)
    return plain.span() if plain else (at, at)


def _within(quoted: re.Match[str]) -> tuple[int, int]:
    text = quoted[0]
    quote = next(place for place, letter in enumerate(text) if letter in "\"'")
    closed = len(text) > quote + 1 and text.endswith(text[quote])
    return quoted.start() + quote + 1, quoted.end() - closed


def _closing(told: str, at: int) -> int:
    """Behind the bracket that closes the one at a place; brackets inside of texts are taken for brackets."""
    opening, closing = told[at], _OPENING[told[at]]
    depth = 0
    for bracket in re.finditer(f"[{re.escape(opening + closing)}]", told[at:]):
        depth += 1 if bracket[0] == opening else -1
        if not depth:
            return at + bracket.end()
    return len(told)


@lru_cache(maxsize=4096)
def _hides(words: tuple[str, ...], key: str) -> bool:
    """Few keys occur again and again."""
    plain = _plain(key)
    return any(word in plain for word in words)


def _plain(key: str) -> str:
    return _LETTERS.sub("", key.casefold())


NOTHING: Final = Redaction(())
"""Hides nothing."""
BY_DEFAULT: Final = Redaction.of(DEFAULT_KEYS.split(","))
