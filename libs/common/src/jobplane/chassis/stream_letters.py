"""Single messages of a stream, for people: pages from its end, one whole, one deleted."""

import asyncio
import base64
import contextlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from nats.errors import Error as NatsError

from jobplane.chassis import streams
from jobplane.chassis.bus import Connection
from jobplane.chassis.ids import new_id
from jobplane.chassis.streams import ApiError
from jobplane.chassis.wire import parse_headers
from jobplane.contracts.errors import Unavailable

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NANO: Final = 1_000_000_000
_FORGOTTEN_S: Final = 10
_PATIENCE_S: Final = 1.5
_MESSAGE_NOT_FOUND: Final = 10037
_SEQUENCE_NOT_FOUND: Final = 10043
_SIZE: Final = "Nats-Msg-Size"


@dataclass(frozen=True, slots=True)
class Letter:
    """One message of a stream; a page leaves its body out."""

    sequence: int
    subject: str
    at: datetime
    headers: Mapping[str, str]
    size_bytes: int
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Page:
    """Some messages, newest first."""

    letters: list[Letter]
    """Perhaps fewer than wanted, if others were deleted meanwhile."""
    below: int | None
    """All others are below this sequence; none: there are no others."""


class StreamLetters:
    """The messages of one stream, over a connection that may look at and delete them.

    Every method raises Unavailable if JetStream does not answer.
    """

    def __init__(self, nc: Connection, stream: str) -> None:
        self._nc = nc
        self._stream = stream

    async def page(self, subject: str, below: int | None, limit: int) -> Page:
        """The newest `limit` messages on `subject` (a pattern), of those below a sequence.

        JetStream reads upwards only: where to begin is found by counting, with consumers that nobody reads.
        """
        state = (await self._ask("STREAM.INFO", ""))["state"]
        first, end = max(1, int(state["first_seq"])), int(state["last_seq"]) + 1
        end = end if below is None else min(end, below)
        if end <= first:
            return Page([], None)
        made: list[str] = []
        try:
            start, count = await self._start(subject, first, end, limit, made)
            letters = await self._read(made[-1], count) if count else []
        finally:
            await self._forget(made)
        found = [letter for letter in letters if letter.sequence < end]
        shown = found[: -limit - 1 : -1]
        if len(found) > limit:
            return Page(shown, shown[-1].sequence)
        return Page(shown, start if start > first else None)

    async def one(self, sequence: int) -> Letter | None:
        """One message with its body, if it is there."""
        try:
            found = (await self._ask("STREAM.MSG.GET", "", {"seq": sequence}))["message"]
        except ApiError as error:
            if error.code == _MESSAGE_NOT_FOUND:
                return None
            raise
        headers = parse_headers(base64.b64decode(found["hdrs"])) if "hdrs" in found else {}
        body = base64.b64decode(found.get("data", ""))
        at = datetime.fromisoformat(found["time"])
        return Letter(sequence, found["subject"], at, headers, len(body), body)

    async def delete(self, sequence: int) -> bool:
        """Delete one message and overwrite what it said; false if it is not there."""
        if await self.one(sequence) is None:
            return False  # asked for one that it never had, the server fails
        try:
            await self._ask("STREAM.MSG.DELETE", "", {"seq": sequence})
        except ApiError as error:
            if error.code == _SEQUENCE_NOT_FOUND:
                return False
            raise
        return True

    async def _start(self, subject: str, first: int, end: int, limit: int, made: list[str]) -> tuple[int, int]:
        """Where to begin to read: at `first`, or with a few more than `limit` messages below `end`.

        Gives the sequence, and how many messages the last of the consumers has, which begins there.
        """
        beyond = await self._consumer(subject, end, made)
        crowded, sparse = first - 1, end  # from the one on there are too many, from the other on too few
        start = max(first, end - limit - 1)
        while True:
            count = await self._consumer(subject, start, made)
            if count - beyond > 2 * (limit + 1):
                crowded = start
            elif count - beyond > limit or start == first:
                return start, count
            else:
                sparse = start
            if sparse - crowded <= 1:  # only where others arrived while we counted
                return start, count
            start = (crowded + sparse) // 2 if crowded >= first else max(first, end - 4 * (end - start))

    async def _consumer(self, subject: str, start: int, made: list[str]) -> int:
        """Make a consumer from that sequence on; gives how many messages it has."""
        name = f"letters-{new_id()}"
        made.append(name)
        config = {
            "name": name,
            "filter_subject": subject,
            "deliver_policy": "by_start_sequence",
            "opt_start_seq": start,
            "ack_policy": "none",
            "headers_only": True,
            "inactive_threshold": _FORGOTTEN_S * _NANO,
            "num_replicas": 1,
            "mem_storage": True,
        }
        request = {"stream_name": self._stream, "config": config}
        return int((await self._ask("CONSUMER.CREATE", f".{name}.{subject}", request))["num_pending"])

    async def _forget(self, consumers: Sequence[str]) -> None:
        """Delete them without waiting for it; what is not heard, the server does by itself after a while."""
        with contextlib.suppress(NatsError, OSError):
            await self._nc.publish_all(
                [(f"$JS.API.CONSUMER.DELETE.{self._stream}.{name}", None, b"") for name in consumers]
            )

    async def _read(self, consumer: str, count: int) -> list[Letter]:
        """The next `count` messages of a consumer, oldest first; fewer if they were deleted meanwhile."""
        letters: list[Letter] = []
        ended = asyncio.Event()

        def receive(subject: str, reply: str, headers: dict[str, str] | None, _body: bytes) -> None:
            if reply:
                letters.append(_letter(subject, reply, headers or {}))
            if not reply or len(letters) == count:
                ended.set()

        inbox = self._nc.new_inbox()
        unsubscribe = await self._nc.subscribe_sink(inbox, receive)
        request = json.dumps({"batch": count, "no_wait": True}).encode()
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._nc.publish(f"$JS.API.CONSUMER.MSG.NEXT.{self._stream}.{consumer}", request, inbox)
                await ended.wait()
        except (NatsError, OSError, TimeoutError) as error:
            raise _unavailable() from error
        finally:
            if not self._nc.is_closed:
                await unsubscribe()
        return letters

    async def _ask(self, call: str, rest: str, request: dict[str, Any] | None = None) -> dict[str, Any]:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                return await streams.api(self._nc, f"{call}.{self._stream}{rest}", request)
        except TimeoutError as error:
            raise _unavailable() from error


def _letter(subject: str, reply: str, headers: Mapping[str, str]) -> Letter:
    """What came without its body; see `reader` for the tokens of the reply subject."""
    tokens = reply.split(".")
    at = 5 if len(tokens) == 9 else 7  # noqa: PLR2004 - the older form
    instant = _EPOCH + timedelta(microseconds=int(tokens[at + 2]) // 1000)
    return Letter(int(tokens[at]), subject, instant, headers, int(headers.get(_SIZE, 0)))


def _unavailable() -> Unavailable:
    return Unavailable("JetStream does not answer", code="bus_unavailable")
