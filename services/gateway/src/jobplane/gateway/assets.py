"""Uploaded files: told apart by their first bytes, kept in the object store, never run by a browser."""

import re
import unicodedata
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict
from starlette.datastructures import UploadFile
from starlette.responses import Response

from jobplane.chassis.ids import new_id
from jobplane.contracts import assets as keys
from jobplane.contracts.admin_events import AssetUploaded
from jobplane.contracts.errors import Refused
from jobplane.gateway.admin_log import Entry
from jobplane.gateway.auth import Caller
from jobplane.gateway.wiring import Gateway

MOST_BYTES: Final = 32 * 1024 * 1024
MULTIPART_BYTES: Final = MOST_BYTES + 64 * 1024
"""A whole upload request: the file and what multipart adds."""
SEVERAL_FILES_BYTES: Final = 4 * MOST_BYTES
"""A form of the console with several files."""
_CHUNK: Final = 256 * 1024
_LONGEST_NAME: Final = 200
_UNKNOWN: Final = "application/octet-stream"
_MAGIC: Final = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"....ftypavi[fs]", re.DOTALL), "image/avif"),
    (re.compile(rb"BM.{12}[\x0c\x28\x6c\x7c]\x00\x00\x00", re.DOTALL), "image/bmp"),
)
"""Pictures that browsers show and never run; everything else is only ever downloaded."""
_HEAD_BYTES: Final = 32
_SANDBOX: Final = "default-src 'none'; style-src 'unsafe-inline'; sandbox"
_INSERT: Final = "INSERT INTO asset (id, name, content_type, size_bytes, account_id) VALUES (%s, %s, %s, %s, %s)"


class Asset(BaseModel):
    """An uploaded file."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    id: str
    """UUIDv7; give it as `asset` of a job."""
    name: str
    """What it was called where it came from."""
    content_type: str
    """By its first bytes, not by its name."""
    size_bytes: int
    url: str
    """Where the file is."""
    thumbnail_url: str
    """Where its small picture is, once a job `image.thumbnail` made it."""


@dataclass(frozen=True, slots=True)
class _Stored:
    content_type: str
    size_bytes: int


async def keep(gateway: Gateway, caller: Caller, file: UploadFile) -> Asset:
    """Put an upload into the store, then its row and event into the database.

    Raises:
        Refused: `payload_too_large`.
    """
    asset_id = new_id()
    stored = await _store(gateway, asset_id, file)
    name = clean_name(file.filename or "")
    async with gateway.log.journal.transaction() as tx:
        values = (asset_id, name, stored.content_type, stored.size_bytes, caller.known.account_id)
        await tx.conn.execute(_INSERT, values)
        event = AssetUploaded(content_type=stored.content_type, size_bytes=stored.size_bytes)
        await gateway.log.append(tx, Entry(event, caller.actor, asset_id))
    url = f"/api/admin/assets/{asset_id}"
    return Asset(
        id=asset_id,
        name=name,
        content_type=stored.content_type,
        size_bytes=stored.size_bytes,
        url=url,
        thumbnail_url=f"{url}/thumbnail",
    )


async def _store(gateway: Gateway, asset_id: str, file: UploadFile) -> _Stored:
    if file.size is not None and file.size > MOST_BYTES:
        raise Refused("payload_too_large", f"A file has at most {MOST_BYTES} bytes.", {"limit_bytes": MOST_BYTES})
    head = await file.read(_HEAD_BYTES)
    await file.seek(0)
    size = await gateway.store.put(keys.original(asset_id), _chunks(file))
    return _Stored(sniff(head), size)


async def _chunks(file: UploadFile) -> AsyncIterator[bytes]:
    while chunk := await file.read(_CHUNK):
        yield chunk


async def original(gateway: Gateway, asset_id: str) -> Response:
    """The file as it was uploaded.

    Raises:
        Refused: `asset_not_found`.
    """
    async with gateway.pool.connection() as conn:
        cursor: Any = await conn.execute("SELECT name, content_type FROM asset WHERE id = %s", (asset_id,))
        row = await cursor.fetchone()
    if row is None:
        raise Refused("asset_not_found", "There is no such file.")
    data = await gateway.store.get(keys.original(asset_id))
    return _content(data, row[1], row[0])


async def thumbnail(gateway: Gateway, asset_id: str) -> Response:
    """The small picture that a worker made.

    Raises:
        Refused: `thumbnail_not_found`.
    """
    try:
        data = await gateway.store.get(keys.thumbnail(asset_id))
    except Refused as error:
        detail = "There is no thumbnail yet: a job image.thumbnail makes it."
        raise Refused("thumbnail_not_found", detail) from error
    return _content(data, sniff(data[:_HEAD_BYTES]), f"{asset_id}.webp")


async def exists(gateway: Gateway, asset_id: str) -> bool:
    """Whether that file was uploaded."""
    async with gateway.pool.connection() as conn:
        cursor = await conn.execute("SELECT 1 FROM asset WHERE id = %s", (asset_id,))
        return await cursor.fetchone() is not None


def sniff(head: bytes) -> str:
    """The type of a file by its first bytes: one of the pictures that are safe to show, or just bytes."""
    return next((content_type for magic, content_type in _MAGIC if magic.match(head)), _UNKNOWN)


def clean_name(name: str) -> str:
    """A file name without directories, control characters and surprises."""
    last = re.split(r"[/\\]", unicodedata.normalize("NFC", name))[-1]
    visible = "".join(char for char in last if unicodedata.category(char)[0] != "C")
    return visible.strip()[-_LONGEST_NAME:] or "file"


def _content(data: bytes, content_type: str, name: str) -> Response:
    shown = content_type != _UNKNOWN
    place = "inline" if shown else "attachment"
    headers = {
        "Content-Disposition": f"{place}; filename*=UTF-8''{quote(name, safe='')}",
        "Content-Security-Policy": _SANDBOX,
        "Cache-Control": "private, max-age=3600" if shown else "no-store",
    }
    return Response(data, 200, headers, media_type=content_type)
