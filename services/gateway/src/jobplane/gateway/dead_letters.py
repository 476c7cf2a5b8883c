"""What admins do with dead letters, recorded; the service whose matter it is does it.

A discard is recorded first: nothing would tell of it afterwards. A replay is recorded when it was done, for it may be
refused; one that is cut off in between left events of its own.
"""

from typing import Any, Final

from fastapi import Request

from jobplane.chassis.ids import new_id
from jobplane.contracts import admin_events
from jobplane.contracts.dead_letters import REPLAY_EVENT, DeadLetterReplayed, OneDeadEvent, OneDeadLetter
from jobplane.contracts.errors import Refused
from jobplane.gateway.admin_log import Entry
from jobplane.gateway.auth import Caller, record_refusal
from jobplane.gateway.wiring import Gateway, gateway_of

_COMMAND: Final = "command"
_READ_S: Final = 10.0
"""The service has to ask the owner of the journal first."""


async def inspect(request: Request, caller: Caller, seq: int) -> dict[str, Any]:
    """What a dead letter says; gives a `DeadLetterDetail`, and that it was seen is recorded.

    Raises:
        Refused: `dead_letter_not_found`.
    """
    gateway = gateway_of(request)
    found = await gateway.bus.ask_raw("jobs", "dead_letter", OneDeadLetter(seq=seq))
    await _record(gateway, caller, admin_events.DeadLetterInspected.model_validate(found), None)
    return found


async def replay(request: Request, caller: Caller, seq: int, reason: str | None) -> dict[str, Any]:
    """Have a command decided once more, or an event read; gives a `DeadLetterReplayed`.

    Raises:
        Refused: `dead_letter_not_found`, `not_replayable`, `still_unreadable`, `replay_failed`; recorded, too.
    """
    return await _done(request, caller, seq, reason, admin_events.DeadLetterReplayed)


async def discard(request: Request, caller: Caller, seq: int, reason: str | None) -> dict[str, Any]:
    """Have a dead letter deleted; gives a `DeadLetterDiscarded`.

    Raises:
        Refused: `dead_letter_not_found`; recorded, too.
    """
    return await _done(request, caller, seq, reason, admin_events.DeadLetterDiscarded)


async def _done(
    request: Request,
    caller: Caller,
    seq: int,
    reason: str | None,
    event: type[admin_events.DeadLetterReplayed | admin_events.DeadLetterDiscarded],
) -> dict[str, Any]:
    gateway, letter = gateway_of(request), OneDeadLetter(seq=seq)
    try:
        found = await gateway.bus.ask_raw("jobs", "dead_letter", letter)
        if event is admin_events.DeadLetterReplayed:
            _require_replayable(found)
        told = event.model_validate(found)
        if event is admin_events.DeadLetterDiscarded:
            await _record(gateway, caller, told, reason)
            return await gateway.bus.ask_raw("jobs", "dead_letter_discard", letter)
        async with gateway.log.journal.transaction() as tx:
            await tx.require_writable()  # what could not be recorded is not done
        replayed = await _replayed(gateway, found)
        await _record(gateway, caller, told, reason)
        return replayed
    except Refused as refusal:
        await record_refusal(request, refusal.code, caller.actor)
        raise


async def _replayed(gateway: Gateway, letter: dict[str, Any]) -> dict[str, Any]:
    if letter["what"] == _COMMAND:
        return await gateway.bus.ask_raw("jobs", "dead_letter_replay", OneDeadLetter(seq=letter["seq"]))
    return await _read(gateway, letter)


async def _read(gateway: Gateway, letter: dict[str, Any]) -> dict[str, Any]:
    """Have an event read by the service that could not, then its letter deleted. Cut off between: safe to repeat."""
    service, seq = letter["service"], letter["seq"]
    wanted = OneDeadEvent(stream=letter["what"], position=letter["position"])
    read = await gateway.bus.ask_raw(service, REPLAY_EVENT, wanted, timeout_s=_READ_S)
    try:
        await gateway.bus.ask_raw("jobs", "dead_letter_discard", OneDeadLetter(seq=seq))
    except Refused as refusal:
        if refusal.code != "dead_letter_not_found":  # somebody else replayed it at the same time
            raise
    missing = read["missing"]
    return DeadLetterReplayed(
        seq=seq,
        status="done",
        code=None if missing else "already_read",
        detail=f"The {service} service {'has read' if missing else 'had already read'} event {wanted.position}.",
        position=wanted.position,
    ).model_dump(mode="json")


def _require_replayable(letter: dict[str, Any]) -> None:
    if not letter["replayable"]:
        detail = (
            "It holds neither a whole command nor tells which event of which stream could not be read: look at it, "
            "mend its sender, and discard it."
        )
        raise Refused("not_replayable", detail, {"seq": letter["seq"]})


async def _record(
    gateway: Gateway,
    caller: Caller,
    event: admin_events.AnyAdminEvent,
    reason: str | None,
) -> None:
    async with gateway.log.journal.transaction() as tx:
        await gateway.log.append(tx, Entry(event, caller.actor, new_id(), reason=reason))
