"""Recent events of all streams in one ring, each written out once and shared by all readers; no I/O."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import structlog
from pydantic_core import to_json

from jobplane.contracts.envelope import event_from_message
from jobplane.contracts.errors import InvalidMessage
from jobplane.gateway.live_cursor import STREAMS, render

log = structlog.get_logger()


@dataclass(slots=True)
class Entry:
    """One event; it is written out when the first reader needs it."""

    stream: int
    """Which of `STREAMS`."""
    position: int
    headers: Mapping[str, str] | None
    data: bytes
    after: tuple[int, ...] = ()
    """The positions of a reader that has seen the ring up to here."""
    _block: bytes | None = None
    _wire: bytes | None = None

    def block(self) -> bytes:
        """The event without its id; nothing if the message is no event."""
        if self._block is None:
            self._block = _block(STREAMS[self.stream], self.position, self.headers, self.data)
        return self._block

    def wire(self, epoch: int) -> bytes:
        """The event for a reader that has seen everything before it in the ring."""
        if self._wire is None:
            self._wire = with_id(epoch, self.after, self.block())
        return self._wire


class Ring:
    """The last events, by a number that counts on for ever; positions of each stream only grow."""

    def __init__(self, size: int) -> None:
        self._slots: list[Entry | None] = [None] * size
        self.end = 0
        self.positions = [0] * len(STREAMS)
        """The last position of each stream."""
        self.floors = [0] * len(STREAMS)
        """Of each stream, everything after this position is in the ring."""

    @property
    def first(self) -> int:
        """Number of the oldest event that is still here."""
        return max(0, self.end - len(self._slots))

    def begin(self, stream: int, position: int) -> None:
        """A stream is followed from after this position on."""
        self.positions[stream] = self.floors[stream] = position

    def append(self, entry: Entry) -> None:
        """Add the next event; the oldest makes room."""
        slot = self.end % len(self._slots)
        oldest = self._slots[slot]
        if oldest is not None:
            self.floors[oldest.stream] = oldest.position
        self.positions[entry.stream] = entry.position
        entry.after = tuple(self.positions)
        self._slots[slot] = entry
        self.end += 1

    def between(self, start: int, end: int) -> list[Entry]:
        """The events with these numbers, all of which must still be here."""
        size = len(self._slots)
        return [entry for number in range(start, end) if (entry := self._slots[number % size]) is not None]


def with_id(epoch: int, positions: tuple[int, ...], block: bytes) -> bytes:
    """A written event with its id."""
    return f"id: {render(epoch, positions)}\n".encode() + block if block else b""


def _block(source: str, position: int, headers: Mapping[str, str] | None, data: bytes) -> bytes:
    try:
        event = event_from_message(headers, data)
    except InvalidMessage as error:
        log.warning("live.unreadable", source=source, position=position, detail=str(error))
        return b""
    head = to_json(
        {
            "source": source,
            "position": position,
            "type": event.type,
            "subject": event.stream_id,
            "at": event.at,
            "actor": {"id": event.actor.id, "kind": event.actor.kind},
            "reason": event.reason,
            "command_id": event.command_id,
            "trace_id": event.trace_id,
        }
    )
    body = data if b"\n" not in data and b"\r" not in data else json.dumps(json.loads(data)).encode()
    return b'event: %b\ndata: %b,"data":%b}\n\n' % (event.type.encode(), head[:-1], body or b"null")
