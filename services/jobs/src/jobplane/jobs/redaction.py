"""Which keys of payloads nobody may search: what stands below them is not indexed, not even as text."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from typing import Final, Self

DEFAULT_KEYS: Final = (
    "password,passwd,passphrase,secret,token,authorization,api_key,access_key,private_key,credential,cookie"
)
_LETTERS: Final = re.compile(r"[^a-z0-9]")


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
        return sha256(",".join(self.words).encode()).hexdigest()[:16]


@lru_cache(maxsize=4096)
def _hides(words: tuple[str, ...], key: str) -> bool:
    """Few keys occur again and again."""
    plain = _plain(key)
    return any(word in plain for word in words)


def _plain(key: str) -> str:
    return _LETTERS.sub("", key.casefold())
