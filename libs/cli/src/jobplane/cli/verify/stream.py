"""I2: the stream has every event of its journal, as far as it is relayed: sequence, ids and bytes."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final, LiteralString

from nats.errors import Error as NatsError

from jobplane.chassis.reader import Message, StreamReader
from jobplane.cli.verify.sources import STREAMS, Sources
from jobplane.cli.verify.verdict import Tally
from jobplane.contracts.errors import Unavailable

_BATCH: Final = 2000
_SILENCE_S: Final = 20.0
_REQUEST_S: Final = 5.0
_STREAM_NOT_FOUND: Final = 10059
_HEADERS: Final = ("ce-sequence", "ce-id", "ce-type", "ce-subject", "ce-streamversion", "ce-commandid")
"""What is compared beside the bytes of the body, in the order of the columns."""
_ROWS: Final[LiteralString] = """
SELECT pos, pos::text, id, type, stream_id, version::text, command_id, data::text
FROM event WHERE pos >= %s AND pos <= %s ORDER BY event.pos
"""

_DIVERGED: Final = (
    "Journal and bus tell two histories: find out which of them was replaced; if it was the bus, wipe it and it heals "
    "from the journal, else go on with `jobplane journal new-epoch`."
)


async def check(sources: Sources, tally: Tally) -> None:
    """Compare both journals with their streams."""
    states = {service: await _state(sources, stream) for service, stream in STREAMS.items()}
    for service, state in states.items():
        if state is not None:
            low, high = _span(sources, service, state)
            tally.expect(high - low)
    for service, state in states.items():
        await _compare(sources, tally, service, state)


async def _compare(sources: Sources, tally: Tally, service: str, state: dict[str, Any] | None) -> None:
    head, stream = sources.heads[service], STREAMS[service]
    if head.halted is not None:
        tally.violation(f"writes are halted: {head.halted}", f"journal of {service}", _DIVERGED)
    if state is None:
        if head.position >= head.first:
            tally.note(f"{stream} does not exist: the relay makes it anew from the journal")
        return
    await _judge_end(sources, tally, service, state)
    low, high = _span(sources, service, state)
    if head.position > state["last_seq"]:
        tally.note(f"{service}: {head.position - state['last_seq']} events are not relayed yet")
    if high > low:
        await _read(sources, tally, service, low, high)


async def _judge_end(sources: Sources, tally: Tally, service: str, state: dict[str, Any]) -> None:
    """Whether the stream is longer than its journal; the head is read anew, because both went on since the start."""
    now = await sources.head(service)
    if state["last_seq"] > now.position:
        what = f"{STREAMS[service]} ends at {state['last_seq']}, the journal at {now.position}"
        tally.violation(what, f"{service} position {now.position + 1}", _DIVERGED)


def _span(sources: Sources, service: str, state: dict[str, Any]) -> tuple[int, int]:
    """After the first and with the second position: what the stream should have of the span that is verified."""
    low, high = sources.span(service)
    low = max(low, state["first_seq"] - 1, sources.heads[service].first - 1)
    return low, max(low, min(high, state["last_seq"]))


async def _state(sources: Sources, stream: str) -> dict[str, Any] | None:
    try:
        answer = json.loads((await sources.bus.request(f"$JS.API.STREAM.INFO.{stream}", timeout=_REQUEST_S)).data)
    except (NatsError, OSError, TimeoutError) as error:
        raise Unavailable(f"JetStream does not answer: {type(error).__name__}") from error
    if "error" in answer:
        if answer["error"].get("err_code") == _STREAM_NOT_FOUND:
            return None
        raise Unavailable(f"JetStream refuses: {answer['error'].get('description')}")
    state: dict[str, Any] = answer["state"]
    return state


async def _read(sources: Sources, tally: Tally, service: str, low: int, high: int) -> None:
    reader = StreamReader(sources.bus, STREAMS[service], low + 1, batch=_BATCH)
    batches = aiter(reader.batches())
    try:
        at = low
        while at < high:
            async with asyncio.timeout(_SILENCE_S):
                batch = await anext(batches)
            messages = [message for message in batch if message[0] <= high]
            # The reader starts behind what retention dropped since the stream was looked at.
            first = messages[0][0] if at == low and messages else at + 1
            last = min(batch[-1][0], high)
            async with sources.snapshot(service) as conn:
                rows = await (await conn.execute(_ROWS, (first, last))).fetchall()
            if not same(rows, messages):
                tell(tally, service, rows, messages)
            tally.advance(last - at)
            at = last
    except TimeoutError as error:
        raise Unavailable(f"{STREAMS[service]} was silent for {_SILENCE_S:g} s") from error
    finally:
        await reader.close()


def same(rows: Sequence[Sequence[Any]], messages: Sequence[Message]) -> bool:
    """Whether the messages are exactly the rows: this is the loop that every event goes through."""
    if len(rows) != len(messages):
        return False
    for row, (sequence, headers, data) in zip(rows, messages, strict=True):
        if row[0] != sequence or headers is None or data != row[7].encode():
            return False
        get = headers.get
        if (
            row[1] != get("ce-sequence")
            or row[2] != get("ce-id")
            or row[3] != get("ce-type")
            or row[4] != get("ce-subject")
            or row[5] != get("ce-streamversion")
            or row[6] != get("ce-commandid")
        ):
            return False
    return True


def tell(tally: Tally, service: str, rows: Sequence[Sequence[Any]], messages: Sequence[Message]) -> None:
    """Tell what differs between the rows and the messages of the same positions."""
    journal = {row[0]: row for row in rows}
    bus = {message[0]: message for message in messages}
    for position in sorted(journal.keys() | bus.keys()):
        row, message = journal.get(position), bus.get(position)
        where = f"{service} position {position}"
        if row is None:
            tally.violation("the stream has an event that the journal has not", where, _DIVERGED)
        elif message is None:
            tally.violation("the stream lacks this event", where, _DIVERGED)
        elif not same([row], [message]):
            tally.violation(f"journal and stream differ in {difference(row, message)}", where, _DIVERGED)


def difference(row: Sequence[Any], message: Message) -> str:
    """The names of what differs."""
    headers = message[1] or {}
    names = [name for name, value in zip(_HEADERS, row[1:7], strict=True) if headers.get(name) != value]
    return ", ".join(names + (["body"] if message[2] != row[7].encode() else []))
