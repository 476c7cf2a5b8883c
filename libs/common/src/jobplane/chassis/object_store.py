"""Files in an object store: a local directory or a bucket, told apart by the URL alone."""

import re
from collections.abc import AsyncIterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote, urlsplit

import obstore
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, from_url

from jobplane.contracts.errors import Refused, Unavailable

_KEY: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)*$")
_LONGEST_KEY: Final = 512
_CHUNK_BYTES: Final = 5 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class StoredFile:
    """What is known of a file without reading it."""

    key: str
    size_bytes: int


class ObjectStore:
    """Files by key: words of letters, digits, ``.``, ``_`` and ``-``, separated by slashes; never a path or URL.

    `url` is ``file:///directory`` (created if missing) or what obstore understands, e.g. ``s3://bucket/prefix``, with
    credentials from the environment. A failing store is Unavailable, an absent key is Refused ``asset_not_found``,
    a malformed one Refused ``invalid_key``.
    """

    def __init__(self, url: str) -> None:
        place = urlsplit(url)
        local = place.scheme == "file"
        self._store: obstore.store.ObjectStore = (
            LocalStore(Path(unquote(place.path)), mkdir=True) if local else from_url(url)
        )

    async def put(self, key: str, data: bytes | AsyncIterable[bytes]) -> int:
        """Store a file, all or nothing, replacing one of the same key; gives its size in bytes."""
        size = 0

        async def counted(chunks: AsyncIterable[bytes]) -> AsyncIterable[bytes]:
            nonlocal size
            async for chunk in chunks:
                size += len(chunk)
                yield chunk

        try:
            if isinstance(data, bytes):
                await obstore.put_async(self._store, _checked(key), data)
                return len(data)
            await obstore.put_async(self._store, _checked(key), counted(data), chunk_size=_CHUNK_BYTES)
        except BaseError as error:
            raise _unavailable(error) from error
        return size

    async def get(self, key: str) -> bytes:
        """The whole file."""
        try:
            found = await obstore.get_async(self._store, _checked(key))
            return bytes(await found.bytes_async())
        except (NotFoundError, FileNotFoundError) as error:
            raise _absent(key) from error
        except BaseError as error:
            raise _unavailable(error) from error

    async def head(self, key: str) -> StoredFile:
        """What is known of the file without reading it."""
        try:
            meta = await obstore.head_async(self._store, _checked(key))
        except (NotFoundError, FileNotFoundError) as error:
            raise _absent(key) from error
        except BaseError as error:
            raise _unavailable(error) from error
        return StoredFile(key=key, size_bytes=meta["size"])

    async def delete(self, key: str) -> None:
        """Remove a file. Removing an absent one does nothing."""
        try:
            await obstore.delete_async(self._store, _checked(key))
        except (NotFoundError, FileNotFoundError):
            return
        except BaseError as error:
            raise _unavailable(error) from error


def is_key(text: str) -> bool:
    """Whether `text` may name a file in the store."""
    return len(text) <= _LONGEST_KEY and _KEY.fullmatch(text) is not None


def _checked(key: str) -> str:
    if not is_key(key):
        raise Refused("invalid_key", "a key is words of letters, digits, '.', '_' and '-', separated by slashes")
    return key


def _absent(key: str) -> Refused:
    return Refused("asset_not_found", f"there is no file {key} in the store: upload it again")


def _unavailable(error: Exception) -> Unavailable:
    return Unavailable(f"the object store failed: {type(error).__name__}", code="store_unavailable")
