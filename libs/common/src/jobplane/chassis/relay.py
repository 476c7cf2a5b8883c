"""The relay: publishes the journal to its stream, so that stream sequence equals journal position.

Racing relays fence each other.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

import structlog
from nats.errors import Error as NatsError
from nats.errors import NoRespondersError

from jobplane.chassis import bus, database, metrics, streams, tracing
from jobplane.chassis.bus import Connection
from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import Journal
from jobplane.chassis.pace import Pace
from jobplane.contracts.envelope import EventRecord, event_headers
from jobplane.contracts.errors import JobplaneError, Unavailable
from jobplane.contracts.topology import stream as declared

log = structlog.get_logger()

BATCH_EVENTS: Final = 1000
BATCH_BYTES: Final = 8 * 1024 * 1024
_WRONG_LAST_SEQUENCE: Final = frozenset({10071, 10164})
_NOT_FOUND: Final = frozenset({10037, 10059})
_TIMEOUT_S: Final = 5.0
_AWAY: Final = (NatsError, TimeoutError, OSError, Unavailable)
"""Errors of a bus that is away."""
_LOOK_BACK_EVERY_S: Final = 0.1
_SINGLY: Final = 16
"""Up to so many events, single messages are stored sooner and cost the server less than a batch (decision 0008)."""


class Diverged(JobplaneError):
    """Journal and stream are two histories: writes halt until an operator decides."""


class StreamMissing(JobplaneError):
    """The bus lost the stream."""


class SequenceMoved(JobplaneError):
    """Another relay published meanwhile."""


@dataclass(frozen=True, slots=True)
class StreamEnd:
    """The end of the stream."""

    last_seq: int
    event_id: str | None
    """Of the event stored there: empty if it is none of ours, None if retention removed it."""


class Relay:
    """Publishes one journal to one stream.

    `create(first_seq)` makes the stream anew, starting at that sequence; it is called only when the stream is missing.
    Any number of relays may run for the same journal.
    """

    def __init__(
        self,
        journal: Journal,
        nc: Connection,
        *,
        stream: str,
        source: str,
        subject_of: Callable[[EventRecord], str],
        create: Callable[[int], Awaitable[None]],
    ) -> None:
        self._journal = journal
        self._nc = nc
        self._stream = stream
        self._source = source
        self._subject_of = subject_of
        self._create = create
        self._last: int | None = None
        self._followed: dict[int, str] = {}
        """What events that were not read from the table came behind (position and id), until that is looked up."""
        self._look_at = 0.0
        """Last sequence of the stream, while it is certain."""
        self._last_id: str | None = None
        """Id of the event there, if it is known."""
        self._relayed = 0
        self._checks = 0
        """How often a comparison was asked for: one that is asked for during a publication must not be forgotten."""
        self.verified = asyncio.Event()
        """Journal and bus were compared once; before, nothing should be written."""
        self._epoch = 0
        self._wanted = asyncio.Event()
        self._pace = Pace()
        metrics.gauge("jobplane_relay_lag_events").labels(stream).set_function(self._lag)

    @property
    def relayed(self) -> int:
        """The last sequence known to be in the stream; 0 before the first look."""
        return self._relayed

    def _lag(self) -> int:
        """Events that this process appended and has not seen in the stream."""
        return max(0, self._journal.head - self.relayed)

    def nudge(self) -> None:
        """There may be something to publish."""
        self._wanted.set()

    def recheck(self) -> None:
        """Compare stream and journal before publishing again (after a reconnect: the bus may be another)."""
        self._checks += 1
        self._last = None
        self._wanted.set()

    async def run(self, stop: asyncio.Event, *, poll_s: float = 2.0) -> None:
        """Publish until told to stop; also looks every `poll_s` for what other replicas committed."""
        waiting = ""
        while not stop.is_set():
            self._wanted.clear()
            try:
                await self._publish_or_halt()
                waiting = ""
            except Exception as error:
                if not _passes(error):
                    raise
                if waiting != str(error):
                    waiting = str(error)
                    log.warning("relay.waiting", stream=self._stream, error=type(error).__name__, detail=waiting)
                self._last = None
                if database.is_away(error) and self._nc.is_connected:
                    await self._look_at_stream()
            try:
                await asyncio.wait_for(self._wanted.wait(), poll_s)
            except TimeoutError:
                continue

    async def _look_at_stream(self) -> None:
        """While the database is away, note what other replicas published: it may come back from before that."""
        with contextlib.suppress(StreamMissing, *_AWAY):
            self._journal.see((await self._end()).last_seq)

    async def _publish_or_halt(self) -> None:
        try:
            await self.run_once()
        except Diverged as error:
            metrics.gauge("jobplane_journal_halted").labels(self._source).set(1)
            await self._journal.halt(str(error), self._epoch)
            self.verified.set()

    async def run_once(self) -> int:
        """Publish all that is not in the stream yet; gives how many events.

        Raises:
            Diverged: the stream has what the journal has not.
        """
        published = 0
        while True:
            checks = self._checks
            last = self._last
            if last is None:
                last = await self._verified_end()
                self.verified.set()  # however much there is to publish
            await self._pace.begin()
            page = await self._next_page(last)
            if page is None:
                self._last = None
                continue
            if not page:
                self._go_on_behind(last, checks)
                await self._look_back()
                return published
            events = _cut(page)
            try:
                with tracing.span(
                    "relay publish", traceparent=events[-1].traceparent, stream=self._stream, events=len(events)
                ):
                    await self._publish(events, last)
            except (SequenceMoved, StreamMissing):
                self._last = None
                continue
            self._relayed = events[-1].position
            self._last_id = events[-1].id
            self._go_on_behind(events[-1].position, checks)
            published += len(events)
            await self._look_back()
            if len(events) == len(page) < BATCH_EVENTS and not self._wanted.is_set() and not self._journal.recent.more:
                return published  # that was all there was
            self._wanted.clear()

    def _go_on_behind(self, last: int, checks: int) -> None:
        """Publish behind `last` next time, unless a recheck was asked for since there were `checks` of them."""
        self._last = last if self._checks == checks else None

    async def _next_page(self, last: int) -> list[EventRecord] | None:
        """The events behind `last`; None if the journal no longer has what was published last.

        A database that was restored within a moment is not noticed otherwise: every connection simply works again.
        """
        if self._journal.doubted:
            return None
        recent = self._journal.recent.take(last, BATCH_EVENTS)
        if recent:
            if self._last_id is not None:
                self._followed[last] = self._last_id
            return recent
        if self._last_id is None:
            return await self._journal.after(last, BATCH_EVENTS)
        page = await self._journal.after(last - 1, BATCH_EVENTS + 1)
        if not page or page[0].position != last or page[0].id != self._last_id:
            return None
        return page[1:]

    async def _look_back(self) -> None:
        """Compare what events from memory came behind with the journal: a restored one may have another there.

        Its own events this process committed a moment ago; that nobody else gave out the positions before them once
        more is not known. Afterwards, so that nobody waits for it, and not for each of many publications.

        Raises:
            Diverged: it has another event there.
        """
        if not self._followed or time.monotonic() < self._look_at:
            return
        kept = await self._journal.event_ids_at(self._followed)
        for position, event_id in self._followed.items():
            if kept.get(position) != event_id:
                self._last = None
                msg = f"the journal has another event at {position} than was published: the database is older"
                raise Diverged(msg)
        self._followed.clear()
        self._look_at = time.monotonic() + _LOOK_BACK_EVERY_S

    async def _verified_end(self) -> int:
        epoch = (await self._journal.figures()).epoch
        if epoch != self._epoch:
            self._followed.clear()  # its operator has seen what differs
        self._epoch = epoch
        try:
            end = await self._end()
        except StreamMissing:
            self._followed.clear()
            first = (await self._journal.figures()).first
            await self._create(first)
            log.warning("relay.stream_created", stream=self._stream, first_sequence=first)
            end = await self._end()
        known = self._journal.known
        figures = await self._journal.figures()
        if figures.epoch != self._epoch:  # opened just now: this end may be that of the stream before
            return await self._verified_end()
        self._journal.doubted = False
        older = self._journal.note(figures, end.last_seq, known)
        if end.last_seq > figures.position:
            older = f"{self._stream} ends at {end.last_seq}, the journal at {figures.position}"
        if older is not None:
            msg = f"{older}: the database is older than what was seen of it"
            raise Diverged(msg)
        if end.event_id is not None and end.event_id != await self._journal.event_id_at(end.last_seq):
            msg = f"{self._stream} holds another event at {end.last_seq} than the journal"
            raise Diverged(msg)
        metrics.gauge("jobplane_journal_halted").labels(self._source).set(figures.halted is not None)
        self._relayed = end.last_seq
        self._last_id = end.event_id
        return end.last_seq

    async def _end(self) -> StreamEnd:
        info = await self._api(f"STREAM.INFO.{self._stream}")
        last_seq = int(info["state"]["last_seq"])
        if last_seq == 0 or int(info["state"]["messages"]) == 0:
            return StreamEnd(last_seq, None)
        message = await self._nc.request(
            f"$JS.API.DIRECT.GET.{self._stream}", json.dumps({"seq": last_seq}).encode(), timeout=_TIMEOUT_S
        )
        headers = message.headers or {}
        return StreamEnd(last_seq, None if headers.get("Status") == "404" else headers.get("ce-id", ""))

    async def _api(self, call: str) -> dict[str, Any]:
        try:
            message = await self._nc.request(f"$JS.API.{call}", b"", timeout=_TIMEOUT_S)
        except NoRespondersError as error:
            msg = "JetStream does not answer"
            raise Unavailable(msg) from error
        answer: dict[str, Any] = json.loads(message.data)
        _raise_for(answer.get("error"))
        return answer

    async def _publish(self, events: list[EventRecord], last: int) -> None:
        """Publish events behind `last`: a few one by one without waiting in between, many as one atomic batch.

        The server keeps a batch in files of its own until it is complete, which costs it as much as a dozen messages.
        """
        if len(events) <= _SINGLY:
            await self._publish_singly(events, last)
            return
        batch = new_id()
        messages = [
            (
                self._subject_of(event),
                event_headers(event, self._source) | {"Nats-Batch-Id": batch, "Nats-Batch-Sequence": str(number)},
                event.data,
            )
            for number, event in enumerate(events, start=1)
        ]
        messages[0][1].update(_expecting(last))
        await self._nc.publish_all(messages[:-1])
        await self._commit(events[-1], messages[-1][1] | {"Nats-Batch-Commit": "1"})

    async def _publish_singly(self, events: list[EventRecord], last: int) -> None:
        """Each expects its own place, so what is behind a message that was not taken is not taken either."""
        publications = [
            self._commit(event, event_headers(event, self._source) | _expecting(expected))
            for expected, event in enumerate(events, start=last)
        ]
        for failure in await asyncio.gather(*publications, return_exceptions=True):
            if failure is not None:
                raise failure

    async def _commit(self, event: EventRecord, headers: dict[str, str]) -> None:
        try:
            subject = self._subject_of(event)
            reply = await self._nc.request(subject, event.data, headers=headers, timeout=_TIMEOUT_S)
        except NoRespondersError as error:
            msg = f"{self._stream} is gone"
            raise StreamMissing(msg) from error
        answer: dict[str, Any] = json.loads(reply.data)
        _raise_for(answer.get("error"))
        if answer["seq"] != event.position:
            msg = f"{self._stream} gave sequence {answer['seq']} to the event at position {event.position}"
            raise Diverged(msg)


def creator(topology_url: str, stream: str) -> Callable[[int], Awaitable[None]]:
    """A function that makes the declared stream anew, over a connection of its own that may do nothing else."""

    async def create(first_sequence: int) -> None:
        nc = await bus.connect(topology_url, user="topology", name=f"topology of {stream}")
        try:
            await streams.create(nc, declared(stream), first_sequence)
        finally:
            await bus.close(nc)

    return create


def _passes(error: Exception) -> bool:
    """Whether it is enough to wait: bus or database are away."""
    return isinstance(error, _AWAY) or database.is_away(error)


def _raise_for(error: dict[str, Any] | None) -> None:
    if error is None:
        return
    code = error.get("err_code", 0)
    description = str(error.get("description", error))
    if code in _WRONG_LAST_SEQUENCE:
        raise SequenceMoved(description)
    if code in _NOT_FOUND:
        raise StreamMissing(description)
    msg = f"JetStream refused ({code}): {description}"
    raise Unavailable(msg)


def _expecting(last: int) -> dict[str, str]:
    return {"Nats-Expected-Last-Sequence": str(last)}


def _cut(events: list[EventRecord]) -> list[EventRecord]:
    """The longest beginning that fits into one atomic batch; never less than one event."""
    size = 0
    for count, event in enumerate(events):
        size += len(event.data) + 1024
        if size > BATCH_BYTES and count:
            return events[:count]
    return events
