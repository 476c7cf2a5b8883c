"""Commands as HTTP: the headers that govern them, their ids, and what their outcomes answer."""

import hashlib
import json
import re
from copy import deepcopy
from dataclasses import dataclass
from typing import Annotated, Any, Final
from uuid import UUID, uuid5

from fastapi import Depends, Header, Request
from pydantic import BaseModel
from pydantic_core import to_json
from starlette.responses import Response

from jobplane.chassis import clock
from jobplane.chassis.ids import new_id
from jobplane.contracts.commands import AnyCommand, AnyDirective, AnyJobCommand
from jobplane.contracts.envelope import CommandMessage, CommandOutcome
from jobplane.contracts.errors import Refused
from jobplane.contracts.ids import CommandId
from jobplane.gateway import people, queue_board
from jobplane.gateway.auth import Caller
from jobplane.gateway.control_bus import NotAccepted
from jobplane.gateway.pending import EXPIRES
from jobplane.gateway.sentences import VERSION_PATTERN, VISIBLE_PATTERN
from jobplane.gateway.wiring import Gateway, gateway_of

DEFAULT_WAIT_S: Final = 2.0
LONGEST_WAIT_S: Final = 30.0
_NAMESPACE: Final = UUID("6f8a5f0a-3c55-5d0b-9d0e-6a6f62706c61")
_WAIT: Final = re.compile(r"^\s*wait\s*=\s*\"?(\d{1,6})\"?\s*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the headers of a request ask for."""

    idempotency_key: str | None = None
    expected_version: int | None = None
    wait_s: float = DEFAULT_WAIT_S


_Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        min_length=1,
        max_length=255,
        pattern=VISIBLE_PATTERN,
        description="Makes a repeated request safe: the same key with the same body gets the first one's outcome.",
        examples=["5f0c2d9e-retry"],
    ),
]
_Prefer = Annotated[
    str | None,
    Header(
        alias="Prefer",
        max_length=1000,
        description="`wait=N`: wait up to N (0 to 30, usually 2) seconds; `respond-async`: 202 at once.",
        examples=["wait=5"],
    ),
]
_IfMatch = Annotated[
    str | None,
    Header(
        alias="If-Match",
        pattern=VERSION_PATTERN,
        description="The ETag of the job as you saw it: refuses with 412 if it has changed since.",
        examples=['"3"'],
    ),
]


async def terms_of_creation(idempotency_key: _Key = None, prefer: _Prefer = None) -> Terms:
    """The terms that the headers Idempotency-Key and Prefer (RFC 7240) set."""
    return Terms(idempotency_key, None, wait_of(prefer))


async def terms(idempotency_key: _Key = None, prefer: _Prefer = None, if_match: _IfMatch = None) -> Terms:
    """The terms that the headers Idempotency-Key, Prefer (RFC 7240) and If-Match set."""
    version = int(if_match.strip('"')) if if_match and if_match != "*" else None
    return Terms(idempotency_key, version, wait_of(prefer))


AgreedToCreate = Annotated[Terms, Depends(terms_of_creation)]
"""The terms of a request that makes something."""
Agreed = Annotated[Terms, Depends(terms)]
"""The terms of a request that changes something."""


def wait_of(prefer: str | None) -> float:
    """How long to wait for an outcome; preferences that we do not know are ignored, as RFC 7240 wants it."""
    wait_s = DEFAULT_WAIT_S
    for preference in (prefer or "").split(","):
        if preference.strip().lower() == "respond-async":
            return 0.0
        if match := _WAIT.match(preference):
            wait_s = min(LONGEST_WAIT_S, float(match[1]))
    return wait_s


def command_id(actor_id: str, method: str, path: str, idempotency_key: str | None) -> CommandId:
    """The id of a command: the same for the same key, actor and request line; a fresh one without a key."""
    if idempotency_key is None:
        return CommandId(new_id())
    return CommandId(str(uuid5(_NAMESPACE, f"{actor_id}\n{method}\n{path}\n{idempotency_key}")))


def digest(wish: BaseModel | None, agreed: Terms) -> str:
    """A digest of what the caller asked for, whatever the order and spacing of its JSON."""
    asked = {"body": wish.model_dump(mode="json") if wish else None, "if_match": agreed.expected_version}
    return hashlib.sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


async def issue(
    gateway: Gateway,
    caller: Caller,
    command: AnyCommand,
    *,
    reason: str | None = None,
    id_: CommandId | None = None,
    body_digest: str | None = None,
    agreed: Terms = Terms(),
) -> tuple[CommandId, CommandOutcome | None]:
    """Have a command decided; without an outcome it is accepted and still waits.

    Raises:
        Unavailable: it was not accepted.
    """
    message = CommandMessage(
        command_id=id_ or CommandId(new_id()),
        actor=caller.actor,
        reason=reason,
        correlation_id=new_id(),
        expected_version=agreed.expected_version,
        expires_at=clock.now() + EXPIRES,
        body_digest=body_digest,
        command=command,
    )
    try:
        outcome = await gateway.bus.send(message, wait_s=agreed.wait_s)
    except NotAccepted as error:
        if not error.certain:
            error.facts |= {"command_id": message.command_id, "status_url": status_url(message.command_id)}
            await gateway.pending.add(message.command_id, caller.actor.id)
        raise
    if outcome is None:
        await gateway.pending.add(message.command_id, caller.actor.id)
    return message.command_id, outcome


async def answer(
    request: Request, caller: Caller, command: AnyJobCommand, wish: BaseModel | None, reason: str | None, agreed: Terms
) -> Response:
    """Have a command decided and say how it went: 200, 201 or 202.

    Raises:
        Refused: it was refused.
    """
    id_, outcome = await _decided(request, caller, command, wish, reason, agreed)
    if outcome is None:
        return accepted(id_)
    if outcome.status == "refused":
        refused = refusal(outcome)
        await people.name(gateway_of(request).accounts, [refused.facts], "changed_by")
        raise refused
    return created(outcome) if command.type == "create" else done(outcome)


async def answer_directive(
    request: Request,
    caller: Caller,
    command: AnyDirective,
    wish: BaseModel | None,
    reason: str | None,
    agreed: Terms,
    *,
    told_as: str,
) -> Response:
    """As `answer`, about what is no job: 200 shows it, as its owner told it in `facts`, under the name `told_as`.

    Raises:
        Refused: it was refused.
    """
    id_, outcome = await _decided(request, caller, command, wish, reason, agreed)
    if outcome is None:
        return accepted(id_)
    if outcome.status == "refused":
        raise refusal(outcome)
    facts = deepcopy(outcome.facts)
    await queue_board.name(gateway_of(request), [facts])
    shown = {told_as: facts, "position": outcome.position, "command_id": outcome.command_id}
    return _json(to_json(shown), 200, {})


async def _decided(
    request: Request, caller: Caller, command: AnyCommand, wish: BaseModel | None, reason: str | None, agreed: Terms
) -> tuple[CommandId, CommandOutcome | None]:
    """Have a command decided as the headers want it, known by its key if it has one."""
    keyed = agreed.idempotency_key is not None
    return await issue(
        gateway_of(request),
        caller,
        command,
        reason=reason,
        id_=command_id(caller.actor.id, request.method, request.scope["path"], agreed.idempotency_key),
        body_digest=digest(wish, agreed) if keyed else None,
        agreed=agreed,
    )


def accepted(id_: CommandId) -> Response:
    """202: the command is kept and will be decided."""
    url = status_url(id_)
    headers = {"Location": url, "Retry-After": "1"}
    return _json(to_json({"command_id": id_, "status_url": url}), 202, headers)


def status_url(id_: CommandId) -> str:
    """Where to ask what became of a command."""
    return f"/api/admin/commands/{id_}"


def done(outcome: CommandOutcome) -> Response:
    """200: the job as it is now."""
    job = outcome.job.model_dump_json() if outcome.job else "null"
    body = f'{{"job":{job},"position":{json.dumps(outcome.position)},"command_id":"{outcome.command_id}"}}'
    return _json(body.encode(), 200, _etag(outcome))


def created(outcome: CommandOutcome) -> Response:
    """201 with the new job, or 200 with the one that has its unique key."""
    if outcome.job is None:
        raise Refused("job_not_found", "The job was created, and is gone already.", {"command_id": outcome.command_id})
    existing = outcome.code == "already_exists"
    headers = _etag(outcome) | {
        "Location": f"/api/admin/jobs/{outcome.job.id}",
        "Jobplane-Command-Id": outcome.command_id,
    }
    return _json(outcome.job.model_dump_json().encode(), 200 if existing else 201, headers)


def refusal(outcome: CommandOutcome) -> Refused:
    """The refusal that an outcome tells, with the job's state as facts."""
    facts: dict[str, Any] = {"command_id": outcome.command_id}
    if outcome.job is not None:
        facts |= {"job_id": outcome.job.id, "status": outcome.job.status, "version": outcome.job.version}
    elif outcome.job_id is not None:
        facts["job_id"] = outcome.job_id
    code = outcome.code or "refused"
    return Refused(code, outcome.detail or "The command was refused.", facts | outcome.facts)


def status(outcome: CommandOutcome) -> Response:
    """What `GET /commands/{id}` tells of a decided command."""
    return _json(
        to_json(
            {
                "command_id": outcome.command_id,
                "status": outcome.status,
                "code": outcome.code,
                "detail": outcome.detail,
                "job": outcome.job,
                "position": outcome.position,
                "facts": outcome.facts,
            }
        ),
        200,
        {},
    )


def _etag(outcome: CommandOutcome) -> dict[str, str]:
    return {"ETag": f'"{outcome.job.version}"'} if outcome.job else {}


def _json(body: bytes, status_code: int, headers: dict[str, str]) -> Response:
    return Response(body, status_code, headers, media_type="application/json")
