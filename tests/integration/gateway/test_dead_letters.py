"""Dead letters over the API: for admins, recorded before anything is done, refusals recorded too."""

from typing import Any

import pytest
from pydantic_core import from_json

from jobplane.contracts.actors import Role
from tests.integration.gateway.conftest import Running, code_of

DLQ = "/api/admin/dlq"
LETTER = {
    "seq": 17,
    "at": "2026-11-22T12:00:00Z",
    "service": "jobs",
    "what": "command",
    "reason": "unreadable",
    "subject": "jobs.cmd.producer.create",
    "size_bytes": 3,
    "replayable": True,
    "headers": {},
    "text": "abc",
    "truncated": False,
    "command_id": "01920a3d-1200-7c00-9000-ba9876543210",
}
EVENT = LETTER | {
    "service": "audit",
    "what": "EVT_JOBS",
    "subject": None,
    "position": 4711,
    "command_id": None,
}
REPLAY = "audit.query.dead_event_replay"
REPLAYED = {"seq": 17, "command_id": LETTER["command_id"], "status": "done", "position": 9}


def answers(gateway: Running, **by_name: Any) -> None:
    gateway.jobs.answers |= {f"jobs.query.dead_letter{name}": answer for name, answer in by_name.items()}


def asked(gateway: Running) -> list[str]:
    return [subject for subject, _ in gateway.jobs.asked if "dead_" in subject]


def problem(code: str) -> dict[str, Any]:
    return {"problem": {"code": code, "detail": "Because.", "facts": {"seq": 17}}}


async def test_filters_reach_the_jobs_service(gateway: Running) -> None:
    admin = await gateway.bearer()
    answers(gateway, s={"items": [LETTER], "next_cursor": "c"})
    query = {"service": "jobs", "what": "command", "since": "2026-11-22T12:00:00Z", "limit": "7", "cursor": "x"}
    answer = await admin.get(DLQ, params=query)
    assert answer.json() == {"items": [LETTER], "next_cursor": "c"}
    _, body = gateway.jobs.asked[-1]
    for part in (b'"service":"jobs"', b'"what":"command"', b'"limit":7', b'"cursor":"x"', b"2026-11-22T12"):
        assert part in body


@pytest.mark.parametrize(
    "path",
    [
        "?service=*",
        "?service=nope",
        "?what=a.b",
        "?since=noon",
        "?limit=201",
        "/0",
        "/x",
        "/-1",
        "/9223372036854775808",
    ],
)
async def test_what_makes_no_sense_is_refused(gateway: Running, path: str) -> None:
    admin = await gateway.bearer()
    answer = await admin.get(f"{DLQ}{path}")
    assert (answer.status_code, code_of(answer)) == (422, "invalid_request")
    assert asked(gateway) == []


async def test_a_letter_is_shown_to_admins(gateway: Running) -> None:
    answers(gateway, **{"": LETTER})
    admin, viewer = await gateway.bearer(), await gateway.bearer(Role.VIEWER)
    assert (await admin.get(f"{DLQ}/17")).json() == LETTER
    [seen] = await gateway.recorded("dlq.inspected.v1")
    assert (seen["seq"], seen["command_id"], seen["actor"].role) == (17, LETTER["command_id"], Role.ADMIN)
    assert code_of(await viewer.get(f"{DLQ}/17")) == "forbidden"
    [refusal] = await gateway.recorded("command.refused.v1")
    assert (refusal["target_type"], refusal["target_id"]) == ("dead_letter", "17")


@pytest.mark.parametrize(("verb", "told"), [("replay", REPLAYED), ("discard", {"seq": 17})])
async def test_what_is_done_is_recorded_with_actor_and_reason(
    gateway: Running, verb: str, told: dict[str, Any]
) -> None:
    answers(gateway, **{"": LETTER, f"_{verb}": told})
    admin = await gateway.bearer()
    me = (await admin.get("/api/admin/session")).json()
    answer = await admin.post(f"{DLQ}/17/{verb}", json={"reason": "the code is mended"})
    assert (answer.status_code, answer.json()) == (200, told)
    assert asked(gateway) == ["jobs.query.dead_letter", f"jobs.query.dead_letter_{verb}"]
    [event] = await gateway.recorded(f"dlq.{verb}ed.v1" if verb == "replay" else "dlq.discarded.v1")
    assert event["actor"].id == me["id"]
    assert {name: event[name] for name in ("seq", "service", "what", "subject", "command_id")} == {
        name: LETTER[name] for name in ("seq", "service", "what", "subject", "command_id")
    }
    [reason] = [entry.reason for entry in await gateway.gateway.log.journal.after(0, 100) if "dlq" in entry.type]
    assert reason == "the code is mended"


async def test_no_reason_is_needed(gateway: Running) -> None:
    answers(gateway, **{"": LETTER, "_discard": {"seq": 17}})
    assert (await (await gateway.bearer()).post(f"{DLQ}/17/discard")).status_code == 200


@pytest.mark.parametrize("verb", ["replay", "discard"])
async def test_a_letter_that_is_gone_is_not_found_and_nothing_is_recorded_as_done(gateway: Running, verb: str) -> None:
    answers(gateway, **{"": problem("dead_letter_not_found")})
    answer = await (await gateway.bearer()).post(f"{DLQ}/17/{verb}")
    assert (answer.status_code, code_of(answer)) == (404, "dead_letter_not_found")
    assert asked(gateway) == ["jobs.query.dead_letter"]
    assert not [event for event in await gateway.gateway.log.journal.after(0, 100) if event.type.startswith("dlq.")]
    [refusal] = await gateway.recorded("command.refused.v1")
    assert refusal["command"] == f"POST {DLQ}/{{dead_letter}}/{verb}"
    assert (refusal["code"], refusal["target_type"], refusal["target_id"]) == (
        "dead_letter_not_found",
        "dead_letter",
        "17",
    )


@pytest.mark.parametrize(
    ("missing", "code", "says"), [(True, None, "has read event 4711"), (False, "already_read", "had already read")]
)
async def test_an_event_is_read_by_its_service_then_its_letter_goes(
    gateway: Running, missing: bool, code: str | None, says: str
) -> None:
    read = {"stream": "EVT_JOBS", "position": 4711, "missing": missing}
    gateway.jobs.answers[REPLAY] = read
    answers(gateway, **{"": EVENT, "_discard": {"seq": 17}})
    answer = await (await gateway.bearer()).post(f"{DLQ}/17/replay", json={"reason": "the code is mended"})
    told = answer.json()
    assert (answer.status_code, told["status"], told["code"], told["position"]) == (200, "done", code, 4711)
    assert (told["command_id"], says in told["detail"]) == (None, True)
    assert asked(gateway) == ["jobs.query.dead_letter", REPLAY, "jobs.query.dead_letter_discard"]
    [wanted] = [from_json(body) for subject, body in gateway.jobs.asked if subject == REPLAY]
    assert wanted == {"stream": "EVT_JOBS", "position": 4711}
    [event] = await gateway.recorded("dlq.replayed.v1")
    assert (event["seq"], event["service"], event["what"], event["position"]) == (17, "audit", "EVT_JOBS", 4711)


@pytest.mark.parametrize("code", ["not_replayable", "still_unreadable", "replay_failed"])
async def test_an_event_that_its_service_refuses_stays(gateway: Running, code: str) -> None:
    gateway.jobs.answers[REPLAY] = problem(code)
    answers(gateway, **{"": EVENT})
    answer = await (await gateway.bearer()).post(f"{DLQ}/17/replay")
    assert (answer.status_code, code_of(answer)) == (409, code)
    assert asked(gateway) == ["jobs.query.dead_letter", REPLAY]
    assert await gateway.recorded("dlq.replayed.v1") == []
    [refusal] = await gateway.recorded("command.refused.v1")
    assert refusal["code"] == code


@pytest.mark.parametrize("away", [REPLAY, "jobs.query.dead_letter_discard"])
async def test_an_event_stays_while_a_service_is_away_and_is_replayed_later(gateway: Running, away: str) -> None:
    gateway.jobs.answers[REPLAY] = {"stream": "EVT_JOBS", "position": 4711, "missing": False}
    answers(gateway, **{"": EVENT, "_discard": {"seq": 17}})
    ok = gateway.jobs.answers[away]
    gateway.jobs.answers[away] = {"problem": {"code": "unavailable", "detail": "Away.", "facts": {"retry_after_s": 2}}}
    admin = await gateway.bearer()
    answer = await admin.post(f"{DLQ}/17/replay")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")
    assert asked(gateway)[-1] == away
    gateway.jobs.answers[away] = ok
    assert (await admin.post(f"{DLQ}/17/replay")).status_code == 200
    assert asked(gateway)[-1] == "jobs.query.dead_letter_discard"


async def test_an_event_that_somebody_else_replays_at_the_same_time_is_replayed(gateway: Running) -> None:
    gateway.jobs.answers[REPLAY] = {"stream": "EVT_JOBS", "position": 4711, "missing": False}
    answers(gateway, **{"": EVENT, "_discard": problem("dead_letter_not_found")})
    answer = await (await gateway.bearer()).post(f"{DLQ}/17/replay")
    assert (answer.status_code, answer.json()["code"]) == (200, "already_read")
    assert await gateway.recorded("command.refused.v1") == []


async def test_what_says_neither_is_not_replayed_but_may_be_discarded(gateway: Running) -> None:
    odd = EVENT | {"service": "worker", "replayable": False}
    answers(gateway, **{"": odd, "_discard": {"seq": 17}})
    admin = await gateway.bearer()
    answer = await admin.post(f"{DLQ}/17/replay")
    assert (answer.status_code, code_of(answer)) == (409, "not_replayable")
    assert "discard" in answer.json()["detail"]
    assert await gateway.recorded("dlq.replayed.v1") == []
    assert (await admin.post(f"{DLQ}/17/discard")).status_code == 200
    [discarded] = await gateway.recorded("dlq.discarded.v1")
    assert (discarded["what"], discarded["position"]) == ("EVT_JOBS", 4711)


@pytest.mark.parametrize("code", ["still_unreadable", "replay_failed"])
async def test_a_replay_that_turns_out_to_be_impossible_is_recorded_as_refused(gateway: Running, code: str) -> None:
    answers(gateway, **{"": LETTER, "_replay": problem(code)})
    answer = await (await gateway.bearer()).post(f"{DLQ}/17/replay")
    assert (answer.status_code, code_of(answer)) == (409, code)
    assert await gateway.recorded("dlq.replayed.v1") == []
    [refusal] = await gateway.recorded("command.refused.v1")
    assert refusal["code"] == code


async def test_nothing_is_done_that_cannot_be_recorded(gateway: Running) -> None:
    answers(gateway, **{"": LETTER, "_replay": REPLAYED})
    admin = await gateway.bearer()
    async with gateway.pool.connection() as conn:
        await conn.execute("UPDATE journal_head SET halted = 'journal_diverged'")
    answer = await admin.post(f"{DLQ}/17/replay")
    assert answer.status_code == 503
    assert asked(gateway) == ["jobs.query.dead_letter"]


@pytest.mark.parametrize("body", [{"reason": ""}, {"reason": 1}, {"why": "x"}, []])
async def test_a_body_with_something_else_is_refused(gateway: Running, body: object) -> None:
    answer = await (await gateway.bearer()).post(f"{DLQ}/17/discard", json=body)
    assert (answer.status_code, code_of(answer)) == (422, "invalid_request")
    assert asked(gateway) == []
