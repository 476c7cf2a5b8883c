"""Dead letters: found, shown, carried out once after all, or thrown away; and nobody gains a right by them."""

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import pytest_asyncio

from jobplane.chassis import bus as buses
from jobplane.chassis import clock, queries
from jobplane.chassis.bus import Connection
from jobplane.chassis.ids import new_id
from jobplane.chassis.intake import Delivery
from jobplane.chassis.stream_letters import StreamLetters
from jobplane.contracts.actors import agent
from jobplane.contracts.commands import RetryJob
from jobplane.contracts.dead_letters import (
    DeadLetterDetail,
    DeadLetterDiscarded,
    DeadLetterPage,
    DeadLetterReplayed,
    ListDeadLetters,
    OneDeadLetter,
)
from jobplane.contracts.envelope import REPLY_TO, CommandMessage, CommandOutcome
from jobplane.contracts.errors import Refused, Unavailable
from jobplane.contracts.ids import JobId
from jobplane.jobs.dead_letters import DeadLetters, opener
from tests.integration.jobs.driving import Driver, message
from tests.support.servers import Bus

pytestmark = pytest.mark.asyncio(loop_scope="module")

CREATE = "jobs.cmd.gateway.create"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def anybody(bus: Bus) -> AsyncIterator[Connection]:
    """May do everything: buries what no service has buried."""
    async with bus.connected("test") as connection:
        yield connection


async def bury(
    anybody: Connection, body: bytes, where: str = "dlq.jobs.command", sent: str | None = CREATE, **headers: str
) -> int:
    """Put a letter into the queue; gives its number."""
    told = {"Jobplane-Dead-Reason": "it was told so"} | ({} if sent is None else {"Jobplane-Dead-Subject": sent})
    answer = await anybody.request(where, body, timeout=10, headers=told | headers)
    return int(json.loads(answer.data)["seq"])


async def page(driver: Driver, **asked: Any) -> DeadLetterPage:
    return await queries.ask(driver.gateway, "jobs", "dead_letters", ListDeadLetters(**asked), DeadLetterPage)


async def detail(driver: Driver, seq: int) -> DeadLetterDetail:
    return await queries.ask(driver.gateway, "jobs", "dead_letter", OneDeadLetter(seq=seq), DeadLetterDetail)


async def replay(driver: Driver, seq: int) -> DeadLetterReplayed:
    return await queries.ask(driver.gateway, "jobs", "dead_letter_replay", OneDeadLetter(seq=seq), DeadLetterReplayed)


async def discard(driver: Driver, seq: int) -> DeadLetterDiscarded:
    return await queries.ask(driver.gateway, "jobs", "dead_letter_discard", OneDeadLetter(seq=seq), DeadLetterDiscarded)


def text_of(wanted: CommandMessage) -> bytes:
    return wanted.model_dump_json().encode()


async def test_letters_are_listed_newest_first_by_who_what_and_when(driver: Driver, anybody: Connection) -> None:
    before = clock.now()
    numbers = [
        await bury(anybody, b"1"),
        await bury(anybody, b"2", "dlq.audit.EVT_JOBS", None, **{"Jobplane-Dead-Position": "4711"}),
        await bury(anybody, b"3"),
    ]
    told = (await page(driver, limit=3)).items
    assert [letter.seq for letter in told] == numbers[::-1]
    assert [letter.replayable for letter in told] == [True, False, True]
    assert [letter.position for letter in told] == [None, 4711, None]
    assert {letter.reason for letter in told} == {"it was told so"}
    assert [letter.seq for letter in (await page(driver, service="audit")).items] == [numbers[1]]
    assert [letter.seq for letter in (await page(driver, what="EVT_JOBS")).items] == [numbers[1]]
    assert [letter.seq for letter in (await page(driver, since=told[1].at)).items] == numbers[:0:-1]
    assert (await page(driver, since=clock.now() + timedelta(hours=1))).items == []
    assert {letter.at >= before - timedelta(seconds=5) for letter in told} == {True}
    first = await page(driver, limit=2)
    second = await page(driver, limit=2, cursor=first.next_cursor)
    assert [letter.seq for letter in (*first.items, *second.items)][:3] == numbers[::-1]


@pytest.mark.parametrize("cursor", ["x", "bDA", "bC0x", "é", "bDk5OTk5OTk5OTk5OTk5OTk5OTk", "===="])
async def test_a_cursor_of_somebody_else_is_refused(driver: Driver, cursor: str) -> None:
    with pytest.raises(Refused) as refusal:
        await page(driver, cursor=cursor)
    assert refusal.value.code == "invalid_cursor"


@pytest.mark.parametrize("asked", [{"service": "*"}, {"what": ">"}, {"service": "a.b"}])
async def test_a_filter_is_a_word_and_no_pattern(driver: Driver, asked: dict[str, str]) -> None:
    answer = await driver.gateway.request("jobs.query.dead_letters", json.dumps(asked).encode(), timeout=10)
    assert json.loads(answer.data)["problem"]["code"] == "invalid_request"


@pytest.mark.parametrize(
    ("body", "text", "content"),
    [
        (b'{"a": [1, "\xc3\xa9"]}', '{"a": [1, "é"]}', {"a": [1, "é"]}),
        (b"\xff\xfe no json", "\ufffd\ufffd no json", None),
        (b"", "", None),
        (b"\x00", "\x00", None),
        (b'{"a": NaN}', '{"a": NaN}', None),
        (b"[" * 150 + b"]" * 150, "[" * 150 + "]" * 150, None),
        (b'{"a":' * 5000, '{"a":' * 5000, None),
        (b'"\\ud800"', '"\\ud800"', None),
        (b"x" * 200_000, "x" * 65_536, None),
    ],
    ids=["json", "bytes", "empty", "nul", "nan", "deep", "endless", "surrogate", "large"],
)
async def test_a_letter_shows_what_it_says_whatever_that_is(
    driver: Driver, anybody: Connection, body: bytes, text: str, content: object
) -> None:
    seq = await bury(anybody, body, **{"X-Long": "y" * 10_000})
    told = await detail(driver, seq)
    assert (told.text, told.content, told.truncated) == (text, content, len(body) > 65_536)
    assert told.size_bytes == len(body)
    assert told.headers["Jobplane-Dead-Reason"] == "it was told so"
    assert len(told.headers["X-Long"]) == 2000
    assert (await page(driver, limit=1)).items[0].size_bytes == len(body)


async def test_a_command_is_carried_out_after_all_for_whom_it_was_sent_and_leaves(
    driver: Driver, anybody: Connection
) -> None:
    wanted = message(driver.creation(), expires_at=clock.now() - timedelta(days=3), reason="it was asked for")
    seq = await bury(anybody, text_of(wanted))
    assert (await detail(driver, seq)).command_id == wanted.command_id
    told = await replay(driver, seq)
    assert (told.seq, told.command_id, told.status) == (seq, wanted.command_id, "done")
    [event] = (await driver.history(str(told.job_id))).items
    assert (event.actor, event.reason, event.position) == (wanted.actor, "it was asked for", told.position)
    for again in (replay, discard, detail):
        with pytest.raises(Refused) as refusal:
            await again(driver, seq)
        assert refusal.value.code == "dead_letter_not_found"


async def test_a_command_that_is_there_twice_is_carried_out_once(driver: Driver, anybody: Connection) -> None:
    job_id = await driver.ended("failed")
    wanted = text_of(message(RetryJob(job_id=JobId(job_id))))
    letters = [await bury(anybody, wanted, sent="jobs.cmd.gateway.retry") for _ in range(2)]
    first, second = [await replay(driver, seq) for seq in letters]
    assert first.model_dump(exclude={"seq"}) == second.model_dump(exclude={"seq"})
    assert (await driver.events(job_id)).count("job.retried.v1") == 1


async def test_what_the_state_does_not_allow_any_more_is_refused_and_leaves(
    driver: Driver, anybody: Connection
) -> None:
    job_id = await driver.ended("completed")
    seq = await bury(anybody, text_of(message(RetryJob(job_id=JobId(job_id)))), sent="jobs.cmd.gateway.retry")
    told = await replay(driver, seq)
    assert (told.status, told.code, told.job_id) == ("refused", "job_not_failed", job_id)
    with pytest.raises(Refused):
        await detail(driver, seq)


async def test_nobody_is_answered_but_the_admin(driver: Driver, anybody: Connection) -> None:
    inbox = driver.gateway.new_inbox()
    ears = await driver.gateway.subscribe(inbox)
    seq = await bury(anybody, text_of(message(driver.creation())), **{REPLY_TO: inbox})
    await replay(driver, seq)
    await driver.create()  # its outcome comes behind what the replay would have sent
    assert ears.pending_msgs == 0
    await ears.unsubscribe()


@pytest.mark.parametrize(
    "sent", ["jobs.cmd.producer.create", "jobs.cmd.health.create", "jobs.cmd.gateway.cancel", "nonsense.a.b.create"]
)
async def test_a_letter_gives_its_sender_no_right_that_the_sender_does_not_have(
    driver: Driver, anybody: Connection, sent: str
) -> None:
    seq = await bury(anybody, text_of(message(driver.creation())), sent=sent)
    with pytest.raises(Refused) as refusal:
        await replay(driver, seq)
    assert refusal.value.code == "still_unreadable"
    assert (await driver.page(queue=[driver.queue])).items == []
    await discard(driver, seq)


async def test_a_producer_gets_what_it_may_have(driver: Driver, anybody: Connection) -> None:
    wanted = message(driver.creation(), actor=agent("shop"))
    told = await replay(driver, await bury(anybody, text_of(wanted), sent="jobs.cmd.producer.create"))
    assert told.status == "done"


@pytest.mark.parametrize("where", ["dlq.audit.command", "dlq.health.command", "dlq.jobs.other", "dlq.audit.EVT_JOBS"])
async def test_a_letter_of_another_service_is_no_command_whatever_it_says(
    driver: Driver, anybody: Connection, where: str
) -> None:
    seq = await bury(anybody, text_of(message(driver.creation())), where)
    with pytest.raises(Refused) as refusal:
        await replay(driver, seq)
    assert refusal.value.code == "not_replayable"
    assert (await driver.page(queue=[driver.queue])).items == []
    assert (await detail(driver, seq)).replayable is False


@pytest.mark.parametrize(
    ("where", "stream", "position", "replayable"),
    [
        ("dlq.audit.EVT_JOBS", "EVT_JOBS", "4711", True),
        ("dlq.audit.EVT_ADMIN", "EVT_ADMIN", "1", True),
        ("dlq.health.EVT_JOBS", "EVT_JOBS", "4711", True),
        ("dlq.health.EVT_ADMIN", "EVT_ADMIN", "4711", False),
        ("dlq.jobs.EVT_JOBS", "EVT_JOBS", "4711", False),
        ("dlq.audit.EVT_JOBS", "EVT_ADMIN", "4711", False),
        ("dlq.audit.EVT_JOBS", "EVT_JOBS", "0", False),
        ("dlq.audit.EVT_JOBS", "EVT_JOBS", "-1", False),
        ("dlq.audit.EVT_JOBS", "EVT_JOBS", "9223372036854775808", False),
        ("dlq.audit.EVT_JOBS", "EVT_JOBS", "", False),
    ],
)
async def test_an_event_is_replayable_by_whoever_reads_its_stream_and_says_where_it_stands(
    driver: Driver, anybody: Connection, where: str, stream: str, position: str, replayable: bool
) -> None:
    placed = {"Jobplane-Dead-Stream": stream, "Jobplane-Dead-Position": position}
    seq = await bury(anybody, b"{}", where, None, **placed)
    assert (await detail(driver, seq)).replayable is replayable
    with pytest.raises(Refused) as refusal:
        await replay(driver, seq)  # that is not the jobs service
    assert refusal.value.code == "not_replayable"
    await discard(driver, seq)


@pytest.mark.parametrize("body", [b"", b"noise", b"{}", b'{"a":' * 5000])
async def test_noise_stays_until_it_is_discarded(driver: Driver, anybody: Connection, body: bytes) -> None:
    seq = await bury(anybody, body)
    with pytest.raises(Refused) as refusal:
        await replay(driver, seq)
    assert refusal.value.code == "still_unreadable"
    assert (await detail(driver, seq)).seq == seq
    assert (await discard(driver, seq)).seq == seq
    with pytest.raises(Refused) as refusal:
        await discard(driver, seq)
    assert refusal.value.code == "dead_letter_not_found"


@pytest.mark.parametrize(
    ("error", "raised", "code"),
    [
        (Unavailable("halted", code="journal_diverged"), Unavailable, "journal_diverged"),
        (RuntimeError("a bug"), Refused, "replay_failed"),
    ],
)
async def test_what_cannot_be_decided_now_stays(
    bus: Bus, driver: Driver, anybody: Connection, error: Exception, raised: type[Exception], code: str
) -> None:
    async def fail(_delivery: Delivery) -> CommandOutcome:
        raise error

    seq = await bury(anybody, text_of(message(driver.creation())))
    letters = DeadLetters(opener(bus.url("topology")), fail)
    with pytest.raises(raised) as stopped:
        await letters.replay(OneDeadLetter(seq=seq))
    assert isinstance(stopped.value, Refused | Unavailable)
    assert stopped.value.code == code
    assert (await replay(driver, seq)).status == "done"


async def test_a_replay_that_was_cut_off_before_the_letter_left_is_repeated_safely(
    bus: Bus, driver: Driver, anybody: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = message(driver.creation(unique_key=new_id()))
    seq = await bury(anybody, text_of(wanted))

    async def cut_off(_letters: StreamLetters, _sequence: int) -> bool:
        raise Unavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(StreamLetters, "delete", cut_off)
        with pytest.raises(Unavailable):
            await replay(driver, seq)
    told = await replay(driver, seq)
    assert told.status == "done"
    assert told.code is None
    assert [job.id for job in (await driver.page(queue=[driver.queue])).items] == [told.job_id]
    nc = await buses.connect(bus.url("topology"), user="topology", name="after")
    assert await StreamLetters(nc, "DLQ").one(seq) is None
    await buses.close(nc)
