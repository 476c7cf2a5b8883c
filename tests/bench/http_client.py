"""A lean HTTP/1.1 client on raw streams: it shares our two cores, so it must cost little."""

import asyncio
import json
from collections.abc import AsyncIterator
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import urlsplit

from jobplane.contracts.errors import Unavailable


class HttpClient:
    """One connection that is kept alive; one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: str) -> None:
        self._reader = reader
        self._writer = writer
        self._head = head

    @classmethod
    async def connect(cls, url: str, token: str = "") -> Self:
        """A connection to the server at `url`; every request carries the bearer token."""
        place = urlsplit(url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port, limit=2**20)
        told = f"Host: {place.netloc}\r\nContent-Type: application/json\r\n"
        return cls(reader, writer, told + (f"Authorization: Bearer {token}\r\n" if token else ""))

    async def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        return await self._ask(f"POST {path} HTTP/1.1\r\n{self._head}Content-Length: {len(body)}\r\n\r\n", body)

    async def get(self, path: str) -> Any:
        """The parsed answer; it must be a 200.

        Raises:
            Unavailable: it is a 503.
        """
        status, body = await self._ask(f"GET {path} HTTP/1.1\r\n{self._head}\r\n", b"")
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            raise Unavailable(body.decode())
        assert status == 200, body
        return json.loads(body)

    async def _ask(self, head: str, body: bytes) -> tuple[int, bytes]:
        self._writer.write(head.encode() + body)
        answer = await self._reader.readuntil(b"\r\n\r\n")
        at = answer.lower().find(b"content-length:")
        length = int(answer[at + 15 : answer.find(b"\r", at)]) if at >= 0 else 0
        return int(answer[9:12]), await self._reader.readexactly(length)

    async def events(self, path: str) -> AsyncIterator[bytes]:
        """The blocks of a stream of server-sent events, as they come."""
        self._writer.write(f"GET {path} HTTP/1.1\r\n{self._head}Accept: text/event-stream\r\n\r\n".encode())
        head = await self._reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head
        rest = b""
        while size := int(await self._reader.readline(), 16):
            rest += (await self._reader.readexactly(size + 2))[:-2]
            *blocks, rest = rest.split(b"\n\n")
            for block in blocks:
                yield block

    async def close(self) -> None:
        """Hang up."""
        self._writer.close()
