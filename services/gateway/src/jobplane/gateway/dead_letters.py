"""What admins do with dead letters: recorded first, then done by the jobs service, which owns their queue."""

from typing import Any

from fastapi import Request

from jobplane.chassis.ids import new_id
from jobplane.contracts import admin_events
from jobplane.contracts.dead_letters import OneDeadLetter
from jobplane.contracts.errors import Refused
from jobplane.gateway.admin_log import Entry
from jobplane.gateway.auth import Caller, record_refusal
from jobplane.gateway.wiring import Gateway, gateway_of


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
    """Have a command decided once more; gives a `DeadLetterReplayed`.

    Raises:
        Refused: `dead_letter_not_found`, `not_replayable`, `still_unreadable`, `replay_failed`; recorded, too.
    """
    return await _done(request, caller, seq, reason, admin_events.DeadLetterReplayed, "dead_letter_replay")


async def discard(request: Request, caller: Caller, seq: int, reason: str | None) -> dict[str, Any]:
    """Have a dead letter deleted; gives a `DeadLetterDiscarded`.

    Raises:
        Refused: `dead_letter_not_found`; recorded, too.
    """
    return await _done(request, caller, seq, reason, admin_events.DeadLetterDiscarded, "dead_letter_discard")


async def _done(
    request: Request,
    caller: Caller,
    seq: int,
    reason: str | None,
    event: type[admin_events.DeadLetterReplayed | admin_events.DeadLetterDiscarded],
    query: str,
) -> dict[str, Any]:
    gateway, letter = gateway_of(request), OneDeadLetter(seq=seq)
    try:
        found = await gateway.bus.ask_raw("jobs", "dead_letter", letter)
        if event is admin_events.DeadLetterReplayed:
            _require_replayable(found)
        await _record(gateway, caller, event.model_validate(found), reason)
        return await gateway.bus.ask_raw("jobs", query, letter)
    except Refused as refusal:
        await record_refusal(request, refusal.code, caller.actor)
        raise


def _require_replayable(letter: dict[str, Any]) -> None:
    if not letter["replayable"]:
        detail = (
            "Only commands can be replayed. The journal keeps this event; the rows of the service that could "
            "not read it lack it, and to discard this copy does not change them."
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
