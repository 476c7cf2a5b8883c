"""The dead letters of all services: listed, shown, handed over once more, discarded."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import timedelta
from typing import Any, Final

import structlog
from pydantic import JsonValue, ValidationError
from pydantic_core import from_json, to_json

from jobplane.chassis import bus, clock, database
from jobplane.chassis.intake import Delivery
from jobplane.chassis.queries import Broker, serve
from jobplane.chassis.stream_letters import Letter, StreamLetters
from jobplane.contracts import cursors
from jobplane.contracts.dead_letters import (
    DEAD_POSITION,
    DEAD_REASON,
    DEAD_SIZE,
    DEAD_STREAM,
    DEAD_SUBJECT,
    MAX_SEQUENCE,
    DeadLetter,
    DeadLetterDetail,
    DeadLetterDiscarded,
    DeadLetterPage,
    DeadLetterReplayed,
    ListDeadLetters,
    OneDeadLetter,
)
from jobplane.contracts.envelope import REPLY_TO, CommandMessage, CommandOutcome
from jobplane.contracts.errors import InvalidMessage, Refused, Unavailable
from jobplane.contracts.ids import CommandId
from jobplane.contracts.subjects import dead_letter
from jobplane.contracts.topology import DLQ, FOLDED
from jobplane.jobs.redaction import BY_DEFAULT, MARK, Redaction

log = structlog.get_logger()

OURS: Final = dead_letter("jobs", "command")
"""Where our own intake puts commands; only it may publish there, so their headers are its own."""
_TEXT_BYTES: Final = 64 * 1024
_MOST_HEADERS: Final = 50
_LONGEST_HEADER: Final = 2000
_LONGEST_SUBJECT: Final = 300
_LONGEST_REASON: Final = 1000
_DEEPEST: Final = 100
_AGAIN: Final = timedelta(hours=1)
_POSITION: Final = re.compile(r"[1-9][0-9]{0,17}")
_CURSOR: Final = re.compile(r"l([1-9][0-9]{0,18})")
_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")

Opened = Callable[[], AbstractAsyncContextManager[StreamLetters]]
Decide = Callable[[Delivery], Awaitable[CommandOutcome]]
"""Decides a command; raises InvalidMessage if it cannot be read, Unavailable if not now."""


def opener(topology_url: str) -> Opened:
    """Opens the queue for one request: what may delete is connected no longer than it is needed."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[StreamLetters]:
        nc = await bus.connect(topology_url, user="topology", name="jobs dead letters", timeout_s=1.0)
        try:
            yield StreamLetters(nc, DLQ)
        finally:
            await bus.close(nc)

    return opened


class DeadLetters:
    """What admins do with dead letters. Who may, and that it is recorded, is the gateway's business."""

    def __init__(self, opened: Opened, decide: Decide, redaction: Redaction = BY_DEFAULT) -> None:
        self._opened = opened
        self._decide = decide
        self._redaction = redaction

    async def page(self, query: ListDeadLetters) -> DeadLetterPage:
        """Dead letters, newest first.

        Raises:
            Refused: `invalid_cursor`.
        """
        below = None if query.cursor is None else _below(query.cursor)
        async with self._opened() as letters:
            page = await letters.page(dead_letter(query.service or "*", query.what or "*"), below, query.limit)
        items = [DeadLetter(**_facts(letter, self._redaction)) for letter in page.letters]
        recent = [item for item in items if query.since is None or item.at >= query.since]
        below = page.below if len(recent) == len(items) else None
        return DeadLetterPage(items=recent, next_cursor=None if below is None else _cursor(below))

    async def one(self, query: OneDeadLetter) -> DeadLetterDetail:
        """A dead letter with what it says.

        Raises:
            Refused: `dead_letter_not_found`.
        """
        async with self._opened() as letters:
            return _detail(await _found(letters, query.seq), self._redaction)

    async def discard(self, query: OneDeadLetter) -> DeadLetterDiscarded:
        """Delete a dead letter for good.

        Raises:
            Refused: `dead_letter_not_found`.
        """
        async with self._opened() as letters:
            if not await letters.delete(query.seq):
                raise _gone(query.seq)
        log.info("dead_letter.discarded", sequence=query.seq)
        return DeadLetterDiscarded(seq=query.seq)

    async def replay(self, query: OneDeadLetter) -> DeadLetterReplayed:
        """Decide the command in a dead letter as if it had just arrived from its issuer, then delete the letter.

        Cut off between the two, it may be repeated: a command is carried out once.

        Raises:
            Refused: `dead_letter_not_found`, `not_replayable`, `still_unreadable`, `replay_failed`; it stays.
        """
        async with self._opened() as letters:
            letter = await _found(letters, query.seq)
            if not _is_command(letter):
                raise _not_replayable(letter)
            outcome = await self._again(letter)
            await letters.delete(query.seq)
        log.info("dead_letter.replayed", sequence=query.seq, command_id=outcome.command_id, status=outcome.status)
        return DeadLetterReplayed(
            seq=query.seq,
            command_id=outcome.command_id,
            status=outcome.status,
            code=outcome.code,
            detail=outcome.detail,
            job_id=outcome.job_id,
            position=outcome.position,
        )

    async def _again(self, letter: Letter) -> CommandOutcome:
        # Nobody waits for the outcome any more; the subject names the issuer, whose rights count as they did then.
        headers = {name: value for name, value in letter.headers.items() if name != REPLY_TO}
        delivery = Delivery(letter.headers[DEAD_SUBJECT], headers, _renewed(letter.body), ack="")
        try:
            return await self._decide(delivery)
        except InvalidMessage as error:
            detail = "It still cannot be read: mend the sender and have it sent anew, or discard this one."
            raise Refused("still_unreadable", detail, {"reason": str(error)[:_LONGEST_REASON]}) from error
        except Exception as error:
            if isinstance(error, Unavailable) or database.temporary(error):
                raise
            log.exception("dead_letter.replay_failed", sequence=letter.sequence)
            detail = "It failed again and stays: the log of the jobs service says why."
            raise Refused("replay_failed", detail, {"error": type(error).__name__}) from error


def answer(broker: Broker, dead_letters: DeadLetters) -> None:
    """Answer the queries about dead letters; only the gateway may ask them."""
    serve(broker, "jobs", "dead_letters", ListDeadLetters, dead_letters.page)
    serve(broker, "jobs", "dead_letter", OneDeadLetter, dead_letters.one)
    serve(broker, "jobs", "dead_letter_replay", OneDeadLetter, dead_letters.replay)
    serve(broker, "jobs", "dead_letter_discard", OneDeadLetter, dead_letters.discard)


async def _found(letters: StreamLetters, sequence: int) -> Letter:
    letter = await letters.one(sequence)
    if letter is None:
        raise _gone(sequence)
    return letter


def _gone(sequence: int) -> Refused:
    detail = "There is no such dead letter: it was replayed, discarded, or is older than the queue keeps them."
    return Refused("dead_letter_not_found", detail, {"seq": sequence})


def _not_replayable(letter: Letter) -> Refused:
    detail = "It holds no whole command that was sent to the jobs service."
    return Refused("not_replayable", detail, {"seq": letter.sequence})


def _is_command(letter: Letter) -> bool:
    """Whether it can be decided here."""
    return letter.subject == OURS and DEAD_SUBJECT in letter.headers and DEAD_SIZE not in letter.headers


def _is_event(letter: Letter, service: str, what: str) -> bool:
    """Whether the service that buried it can read it anew."""
    placed = _POSITION.fullmatch(letter.headers.get(DEAD_POSITION, "")) is not None
    return placed and letter.headers.get(DEAD_STREAM) == what and what in FOLDED.get(service, ())


def _renewed(body: bytes) -> bytes:
    """The command with time to be decided in: an admin wants it now, whatever its sender thought of waiting."""
    try:
        message = CommandMessage.model_validate_json(body)
    except ValidationError:
        return body  # whoever decides says what is wrong with it
    return message.model_copy(update={"expires_at": clock.now() + _AGAIN}).model_dump_json().encode()


def _detail(letter: Letter, redaction: Redaction) -> DeadLetterDetail:
    told = sorted(letter.headers.items(), key=lambda header: not header[0].startswith("Jobplane-Dead-"))
    headers = {name: MARK if redaction.hides(name) else redaction.text(value) for name, value in told[:_MOST_HEADERS]}
    text, content = _body(letter.body, redaction)
    truncated = len(letter.body) > _TEXT_BYTES
    return DeadLetterDetail(
        **_facts(letter, redaction),
        headers={name[:_LONGEST_HEADER]: value[:_LONGEST_HEADER] for name, value in headers.items()},
        text=text,
        truncated=truncated,
        content=None if truncated else content,
        command_id=_command_id(content),
    )


def _body(body: bytes, redaction: Redaction) -> tuple[str, JsonValue]:
    """What a letter says, without what is secret: as text, and as JSON if it is JSON."""
    content = _json(body)
    if content is None:
        return redaction.text(body.decode(errors="replace"))[:_TEXT_BYTES], None
    shown = redaction.shown(content)
    # Of a key that stands twice only the last value is in `content`, but the letter itself has both.
    as_it_came = shown == content and not redaction.may_hide(body)
    return (body if as_it_came else to_json(shown))[:_TEXT_BYTES].decode(errors="replace"), shown


def _facts(letter: Letter, redaction: Redaction) -> Mapping[str, Any]:
    _, service, what = [*letter.subject.split(".", 2), "", ""][:3]
    position = letter.headers.get(DEAD_POSITION, "")
    subject = letter.headers.get(DEAD_SUBJECT)
    return {
        "seq": letter.sequence,
        "at": letter.at,
        "service": service,
        "what": what,
        "reason": redaction.text(letter.headers.get(DEAD_REASON, ""))[:_LONGEST_REASON],
        "subject": None if subject is None else subject[:_LONGEST_SUBJECT],
        "position": int(position) if _POSITION.fullmatch(position) else None,
        "size_bytes": letter.size_bytes,
        "replayable": _is_command(letter) or _is_event(letter, service, what),
    }


def _json(body: bytes) -> JsonValue:
    try:
        value: JsonValue = from_json(body, allow_inf_nan=False)
    except ValueError:
        return None
    return None if _deeper(value, _DEEPEST) else value


def _deeper(value: JsonValue, levels: int) -> bool:
    """Whether it is nested so deeply that others could not read it inside of our answer."""
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels == 0 or any(_deeper(item, levels - 1) for item in inner)


def _command_id(content: JsonValue) -> CommandId | None:
    told = content.get("command_id") if isinstance(content, dict) else None
    return CommandId(told) if isinstance(told, str) and _UUID.fullmatch(told) else None


def _cursor(below: int) -> str:
    return cursors.sealed(f"l{below}")


def _below(cursor: str) -> int:
    below = int(cursors.opened(cursor, _CURSOR)[1])
    if below > MAX_SEQUENCE:
        raise Refused("invalid_cursor", cursors.NOT_OURS)
    return below
