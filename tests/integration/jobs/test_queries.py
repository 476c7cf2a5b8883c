"""Lists, details, histories and counts, as the gateway asks for them."""

from typing import Any

import pytest

from jobplane.chassis import queries
from jobplane.chassis.ids import new_id
from jobplane.contracts.commands import RetryJob
from jobplane.contracts.error_groups import ErrorGroupPage, ErrorGroupView, ListErrorGroups, OneErrorGroup
from jobplane.contracts.errors import Refused
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import JobStatus, JobView, QueueStats, Stats
from jobplane.contracts.queries import JournalFigures, Nothing
from jobplane.contracts.topology import MAX_MESSAGE_BYTES
from tests.integration.jobs.driving import Driver, done, failed
from tests.integration.jobs.truth import rows_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def walk(driver: Driver, **asked: Any) -> list[JobView]:
    """Every page of a list, one after the other."""
    found: list[JobView] = []
    cursor: str | None = None
    while True:
        page = await driver.page(cursor=cursor, **asked)
        assert len(page.items) <= asked.get("limit", 50)
        found += page.items
        cursor = page.next_cursor
        if cursor is None:
            return found
        assert page.items


async def stats(driver: Driver) -> Stats:
    return await queries.ask(driver.gateway, "jobs", "stats", Nothing(), Stats)


async def test_a_list_is_walked_newest_first_without_gap_or_repeat(driver: Driver) -> None:
    created = await driver.create_many(23)
    newest_first = [job.id for job in reversed(created)]
    for limit in (1, 7, 23, 200):
        assert [job.id for job in await walk(driver, queue=[driver.queue], limit=limit)] == newest_first


async def test_jobs_that_come_meanwhile_do_not_shift_the_pages(driver: Driver) -> None:
    created = await driver.create_many(4)
    first = await driver.page(queue=[driver.queue], limit=2)
    await driver.create_many(3)
    second = await driver.page(queue=[driver.queue], limit=2, cursor=first.next_cursor)
    assert [job.id for job in first.items + second.items] == [job.id for job in reversed(created)]


async def test_filters_compose(driver: Driver) -> None:
    running = await driver.running()
    pending = await driver.pending()
    other = (await driver.create(kind="test.other")).id
    failed_job = await driver.ended("failed")

    async def found(**asked: Any) -> set[str]:
        return {job.id for job in await walk(driver, queue=[driver.queue], **asked)}

    assert await found() == {running, pending, other, failed_job}
    assert await found(status=["PENDING"]) == {pending, other}
    assert await found(status=["RUNNING", "FAILED"]) == {running, failed_job}
    assert await found(kind=["test.other"]) == {other}
    assert await found(kind=["test.other", "test.echo"], status=["PENDING"]) == {pending, other}
    assert await found(kind=["no.such"]) == set()
    with pytest.raises(Refused, match=r"^invalid_query: No job can match: kind: [^\n]*\.$"):
        await found(kind=["nul\x00"])


async def test_lists_leave_out_what_is_large_and_the_detail_has_it(driver: Driver) -> None:
    created = await driver.create(payload={"n": 1}, max_attempts=1, tags=["a", "b"], asset="x/y.jpg")
    [leased] = await driver.lease()
    await driver.report(failed(leased, stack="Traceback"))
    whole = await driver.job(created.id)
    assert whole.error is not None
    assert (whole.payload, whole.error.stack, whole.tags, whole.asset) == (
        {"n": 1},
        "Traceback",
        ["a", "b"],
        "x/y.jpg",
    )
    [listed] = (await driver.page(queue=[driver.queue])).items
    without = {"payload": None, "error": whole.error.model_copy(update={"stack": None})}
    assert listed == whole.model_copy(update=without)


@pytest.mark.parametrize("cursor", ["nonsense", "", "%%%", "語", "MQ", "AAAA"])
async def test_a_cursor_that_is_not_ours_is_refused(driver: Driver, cursor: str) -> None:
    with pytest.raises(Refused, match="invalid_cursor"):
        await driver.page(cursor=cursor)


async def test_a_history_tells_everything_with_bodies(driver: Driver) -> None:
    created = await driver.create(payload={"n": 1}, max_attempts=1)
    [leased] = await driver.lease()
    await driver.report(failed(leased, stack="line"))
    await driver.do(RetryJob(job_id=JobId(created.id)), reason="again")
    [leased] = await driver.lease()
    await driver.report(done(leased, result={"ok": True}))

    history = (await driver.history(created.id)).items
    assert [item.type.split(".")[1] for item in history] == [
        "created",
        "started",
        "failed",
        "retried",
        "started",
        "completed",
    ]
    assert [item.version for item in history] == [1, 2, 3, 4, 5, 6]
    assert [(item.before, item.after) for item in history][:3] == [
        (None, "PENDING"),
        ("PENDING", "RUNNING"),
        ("RUNNING", "FAILED"),
    ]
    positions = [item.position for item in history]
    assert positions == sorted(set(positions))
    assert history[0].data["payload"] == {"n": 1}
    error = history[2].data["error"]
    assert isinstance(error, dict)
    assert (error["type"], error["message"], error["stack"]) == ("ValueError", "no", "line")
    assert history[3].reason == "again"
    assert history[5].data["result"] == {"ok": True}
    assert {item.trace_id for item in history} == {"ab" * 16}
    assert [item.actor.kind for item in history] == ["user", "worker", "worker", "user", "worker", "worker"]


async def test_a_history_is_walked_page_by_page(driver: Driver) -> None:
    job_id = await driver.ended("failed")
    whole = (await driver.history(job_id)).items
    first = await driver.history(job_id, limit=2)
    second = await driver.history(job_id, limit=2, cursor=first.next_cursor)
    assert first.items + second.items == whole
    assert second.next_cursor is None
    with pytest.raises(Refused, match="invalid_cursor"):
        await driver.history(job_id, cursor="nonsense")


async def test_an_unknown_job_is_not_found(driver: Driver) -> None:
    with pytest.raises(Refused, match="job_not_found"):
        await driver.job(new_id())
    with pytest.raises(Refused, match="job_not_found"):
        await driver.history(new_id())


async def test_pages_stay_under_the_limit_of_a_message(driver: Driver) -> None:
    """However long error messages are and however many of them there are."""
    await driver.create_many(90, max_attempts=1)
    leased = await driver.lease(max=90)
    for some in (leased[:30], leased[30:60], leased[60:]):
        assert await driver.report(*(failed(job, message="語" * 4096) for job in some)) == ["accepted"] * 30
    asked = f'{{"queue":["{driver.queue}"],"limit":200}}'.encode()
    answer = await driver.gateway.request("jobs.query.list", asked, timeout=5)
    assert len(answer.data) < MAX_MESSAGE_BYTES
    assert len(await walk(driver, queue=[driver.queue], limit=200)) == 90


async def test_a_long_history_stays_under_the_limit_of_a_message(driver: Driver) -> None:
    created = await driver.create(max_attempts=1)
    for _ in range(8):
        [leased] = await driver.lease()
        await driver.report(failed(leased, stack="語" * 32_000))
        await driver.do(RetryJob(job_id=JobId(created.id)))
    pages = [await driver.history(created.id)]
    while pages[-1].next_cursor:
        pages.append(await driver.history(created.id, cursor=pages[-1].next_cursor))
    assert len(pages) > 1
    assert [item.version for page in pages for item in page.items] == list(range(1, 26))
    assert max(len(page.model_dump_json().encode()) for page in pages) < MAX_MESSAGE_BYTES


async def test_counts_are_exact_at_any_moment(driver: Driver) -> None:
    await driver.running()
    await driver.running()
    for outcome in ("completed", "failed", "cancelled"):
        await driver.ended(outcome)
    waiting = await driver.create()
    await driver.create()
    counted = await stats(driver)
    [mine] = [queue for queue in counted.queues if queue.queue == driver.queue]
    assert mine == QueueStats(queue=driver.queue, pending=2, running=2, oldest_at=waiting.run_at)
    recount = rows_of(driver.owner_url, "SELECT status, count(*) FROM job GROUP BY status")
    assert counted.by_status == dict.fromkeys(JobStatus, 0) | {JobStatus(status): n for status, n in recount}
    [(head,)] = rows_of(driver.owner_url, "SELECT pos FROM journal_head")
    assert counted.position == head


async def test_the_journal_tells_how_far_the_relay_is(driver: Driver) -> None:
    created = await driver.create()
    figures = await queries.ask(driver.gateway, "jobs", "journal", Nothing(), JournalFigures)
    assert (figures.position, figures.epoch, figures.halted) == (created.position, 1, None)


@pytest.mark.parametrize("name", ["list", "detail", "history", "stats", "command", "journal", "journal_page"])
@pytest.mark.parametrize(
    "body", [b"", b"no json", b'{"limit": 100000, "after": -1, "job_id": 5, "command_id": 5}', b"[]", b"\xff"]
)
async def test_a_question_that_cannot_be_read_is_answered(driver: Driver, name: str, body: bytes) -> None:
    answer = (await driver.gateway.request(f"jobs.query.{name}", body, timeout=5)).data
    assert b'"internal"' not in answer
    assert b"invalid_request" in answer or name in {"stats", "journal"}


async def test_error_groups_are_told_from_a_report_to_a_retry(driver: Driver) -> None:
    job = await driver.create(max_attempts=1)
    [leased] = await driver.lease(max=1)
    error = {"type": "Overheated", "message": "Rack 7 has 91 degrees", "stack": None}
    await driver.report(failed(leased, **error))

    async def listed() -> list[tuple[str, int, int]]:
        asked = ListErrorGroups(type=["Overheated"])
        page = await queries.ask(driver.gateway, "jobs", "errors", asked, ErrorGroupPage)
        return [(group.message, group.count, group.failed_now) for group in page.items]

    assert await listed() == [("Rack 7 has 91 degrees", 1, 1)]
    fingerprint = (await driver.job(job.id)).error.fingerprint  # type: ignore[union-attr]
    one = await queries.ask(driver.gateway, "jobs", "error", OneErrorGroup(fingerprint=fingerprint), ErrorGroupView)
    assert [(known.id, known.status) for known in one.jobs] == [(job.id, JobStatus.FAILED)]
    await driver.do(RetryJob(job_id=JobId(job.id)))
    assert await listed() == [("Rack 7 has 91 degrees", 1, 0)]
