"""Beats and reports of workers: what keeps a run, what ends it, and what a stranger achieves."""

import asyncio
import json
from typing import Any

import pytest

from jobplane.chassis.ids import new_id
from jobplane.contracts.commands import CancelJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import MAX_RESULT_BYTES, JobStatus
from jobplane.contracts.workers import BeatReply, DoneAnswer, DoneReply, LeasedJob, Signal
from tests.integration.jobs.driving import Driver, done, failed
from tests.integration.jobs.truth import change, rows_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def driver(driver: Driver, request: pytest.FixtureRequest) -> Driver:
    """Each test has a worker of its own: a beat is about all runs of its worker."""
    return Driver(driver.gateway, driver.worker, driver.queue, driver.owner_url, name=f"w-{driver.queue}")


async def start(driver: Driver, **more: Any) -> LeasedJob:
    await driver.create(**more)
    [leased] = await driver.lease(lease_ms=30_000)
    return leased


async def raw(driver: Driver, subject: str, body: object) -> bytes:
    data = (await driver.worker.request(subject, json.dumps(body).encode(), timeout=5)).data
    return bytes(data)


async def test_a_beat_extends_the_lease_and_shows_progress(driver: Driver) -> None:
    leased = await start(driver)
    driver.lapse(leased.job, seconds=20)
    reply = await driver.beat(leased, progress=0.25)
    assert reply.extend_to is not None
    assert reply.extend_to >= leased.lease_ends_at
    assert (reply.cancel, reply.lost) == ([], [])
    assert (await driver.job(leased.job)).progress == 0.25
    await driver.beat(leased)
    assert (await driver.job(leased.job)).progress == 0.25, "a beat that tells no progress takes none back"
    await driver.report(done(leased))
    assert (await driver.job(leased.job)).progress == 0.25


async def test_progress_begins_anew_with_the_next_run(driver: Driver) -> None:
    leased = await start(driver)
    await driver.beat(leased, progress=0.5)
    await driver.report(done(leased, "released"))
    [again] = await driver.lease()
    assert (await driver.job(again.job)).progress is None


async def test_a_beat_revives_a_lease_that_is_over_but_not_given_away(driver: Driver) -> None:
    leased = await start(driver)
    driver.lapse(leased.job)
    assert (await driver.beat(leased)).extend_to is not None
    assert await driver.report(done(leased)) == ["accepted"]


async def test_a_beat_hears_of_cancelled_and_lost_runs(driver: Driver) -> None:
    cancelled, lost, kept = [await start(driver) for _ in range(3)]
    await driver.do(CancelJob(job_id=JobId(cancelled.job)))
    stranger = lost.model_copy(update={"token": "0" * 32})
    unknown = kept.model_copy(update={"job": new_id()})
    reply = await driver.beat(cancelled, stranger, unknown, kept)
    assert reply.cancel == [cancelled.job]
    assert reply.lost == [lost.job, unknown.job]
    assert reply.extend_to is not None


async def test_the_worker_of_a_cancelled_run_is_told_at_once(driver: Driver) -> None:
    leased = await start(driver)
    signals = await driver.worker.subscribe(f"jobs.signal.{driver.name}")
    await driver.worker.flush()
    await driver.do(CancelJob(job_id=JobId(leased.job)))
    told = Signal.model_validate_json((await signals.next_msg(timeout=3)).data)
    await signals.unsubscribe()
    assert told == Signal(job=leased.job, token=leased.token, cause="cancelled")


async def test_the_worker_of_a_run_that_takes_too_long_is_told(driver: Driver) -> None:
    change(driver.owner_url, "UPDATE beat_service SET since = now() - interval '1 h'")
    signals = await driver.worker.subscribe(f"jobs.signal.{driver.name}")
    leased = await start(driver, timeout_ms=100, max_attempts=1)
    assert leased.deadline is not None
    told = Signal.model_validate_json((await signals.next_msg(timeout=5)).data)
    await signals.unsubscribe()
    assert told == Signal(job=leased.job, token=leased.token, cause="timeout")
    assert (await driver.beat(leased)).lost == [leased.job]
    assert await driver.report(done(leased)) == ["lease_lost"]
    assert (await driver.job(leased.job)).status is JobStatus.FAILED


async def test_a_run_that_two_beats_do_not_mention_is_given_back_uncounted(driver: Driver) -> None:
    kept, forgotten = await start(driver), await start(driver)
    await driver.beat(kept)
    await driver.beat(kept)
    assert (await driver.job(forgotten.job)).status is JobStatus.RUNNING, "beats that come too close count as one"
    driver.lapse(forgotten.job, "unmentioned_at", seconds=10)
    await driver.beat(kept)
    job = await driver.job(forgotten.job)
    assert (job.status, job.attempt, job.run) == (JobStatus.PENDING, 0, 1)
    assert (await driver.history(forgotten.job)).items[-1].data["cause"] == "forgotten"
    assert (await driver.job(kept.job)).status is JobStatus.RUNNING
    assert await driver.report(done(forgotten)) == ["lease_lost"]


async def test_a_run_that_is_mentioned_again_is_kept(driver: Driver) -> None:
    leased = await start(driver)
    await driver.beat()
    driver.lapse(leased.job, "unmentioned_at", seconds=10)
    await driver.beat(leased)
    await driver.beat()
    assert (await driver.job(leased.job)).status is JobStatus.RUNNING


async def test_a_worker_says_nothing_of_the_runs_of_others(driver: Driver) -> None:
    leased = await start(driver)
    for _ in range(2):
        await driver.beat(name="w-somebody-else")
    [(unmentioned,)] = rows_of(driver.owner_url, "SELECT unmentioned_at FROM job WHERE id = %s", (leased.job,))
    assert unmentioned is None


async def test_a_report_is_accepted_once_and_answered_the_same_again(driver: Driver) -> None:
    leased = await start(driver)
    item = done(leased, result=[1, 2])
    assert await driver.report(item, item) == ["accepted", "accepted"]
    assert await driver.report(item) == ["accepted"]
    assert await driver.events(leased.job) == ["job.created.v1", "job.started.v1", "job.completed.v1"]
    assert (await driver.job(leased.job)).result == [1, 2]


async def test_a_stale_token_changes_nothing(driver: Driver) -> None:
    leased = await start(driver)
    await driver.report(done(leased, "released"))
    [again] = await driver.lease()
    assert await driver.report(done(leased), failed(leased), done(leased, "cancelled"), done(again)) == [
        "lease_lost",
        "lease_lost",
        "lease_lost",
        "accepted",
    ]
    assert (await driver.job(leased.job)).run == 2


@pytest.mark.parametrize(
    ("outcome", "stop", "event"),
    [
        ("cancelled", "confirmed", "job.stop_confirmed.v1"),
        ("released", "confirmed", "job.stop_confirmed.v1"),
        ("completed", "finished_anyway", "job.finished_anyway.v1"),
        ("failed", "finished_anyway", "job.finished_anyway.v1"),
    ],
)
async def test_what_became_of_a_cancelled_run_is_recorded_once(
    driver: Driver, outcome: str, stop: str, event: str
) -> None:
    leased = await start(driver)
    await driver.do(CancelJob(job_id=JobId(leased.job)))
    assert await driver.report(done(leased, outcome), done(leased, outcome)) == ["accepted", "accepted"]
    assert await driver.report(done(leased)) == ["accepted"]
    job = await driver.job(leased.job)
    assert (job.status, job.stop) == (JobStatus.CANCELLED, stop)
    assert (await driver.events(leased.job))[3:] == [event]


async def test_one_bad_item_does_not_hurt_the_others(driver: Driver) -> None:
    large, unknown, odd, good = [await start(driver) for _ in range(4)]
    strange = failed(odd, type="Bad\x00Name", message="m\x00", stack="s" * 100_000)
    assert await driver.report(
        done(large, result="x" * MAX_RESULT_BYTES),
        done(unknown.model_copy(update={"job": new_id()})),
        strange,
        done(good),
    ) == ["invalid", "invalid", "accepted", "accepted"]
    assert (await driver.job(large.job)).status is JobStatus.RUNNING
    error = (await driver.job(odd.job)).error
    assert error is not None
    assert (error.type, error.message, len(error.stack or "")) == ("BadName", "m\x00", 32 * 1024)
    assert await driver.report(done(large, result="smaller")) == ["accepted"]


@pytest.mark.parametrize(
    "item",
    [{"job": "not-an-id"}, {"token": "nul\x00"}, {"outcome": "exploded"}, {"result": "x", "job": None}],
    ids=["job", "token", "outcome", "nothing"],
)
async def test_a_report_that_cannot_be_read_disturbs_nobody(driver: Driver, item: dict[str, Any]) -> None:
    leased = await start(driver)
    good = done(leased).model_dump()
    neighbour = asyncio.create_task(driver.report(done(leased)))
    reply = DoneReply.model_validate_json(
        await raw(driver, "jobs.done", {"worker": driver.name, "items": [good | item]})
    )
    assert (reply.error, reply.answers) == ("invalid", list[DoneAnswer]())
    assert await neighbour == ["accepted"]


@pytest.mark.parametrize("token", ["nul\x00", "x" * 100])
async def test_a_beat_that_cannot_be_read_disturbs_nobody(driver: Driver, token: str) -> None:
    leased = await start(driver)
    neighbour = asyncio.create_task(driver.beat(leased))
    strange = {"worker": driver.name, "running": [{"job": leased.job, "token": token}]}
    assert BeatReply.model_validate_json(await raw(driver, "jobs.beat", strange)).error == "invalid"
    assert (await neighbour).extend_to is not None


async def test_many_reports_and_beats_at_once_are_all_served(driver: Driver) -> None:
    await driver.create_many(40)
    leased = await driver.lease(max=40)
    beats = [driver.beat(*leased) for _ in range(5)]
    reports = [driver.report(done(job)) for job in leased]
    answers = await asyncio.gather(*reports, *beats)
    assert answers[:40] == [["accepted"]] * 40
