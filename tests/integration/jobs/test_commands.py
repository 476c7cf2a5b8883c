"""Which command is allowed in which status, and what makes a command refused, through the real service."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from jobplane.chassis import clock, queries
from jobplane.chassis.ids import new_id
from jobplane.contracts import instants
from jobplane.contracts.commands import AnyJobCommand, CancelJob, ForceRunJob, RetryJob
from jobplane.contracts.envelope import CommandOutcome
from jobplane.contracts.errors import Refused
from jobplane.contracts.ids import CommandId, JobId
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.queries import OneCommand
from tests.integration.jobs.driving import ADMIN, Driver, job_of, message, send
from tests.integration.jobs.truth import change, rows_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

BRING: dict[str, Callable[[Driver], Awaitable[str]]] = {
    "PENDING": Driver.pending,
    "RUNNING": Driver.running,
    "COMPLETED": lambda driver: driver.ended("completed"),
    "FAILED": lambda driver: driver.ended("failed"),
    "CANCELLED": lambda driver: driver.ended("cancelled"),
}


def asked(verb: str, job_id: str) -> AnyJobCommand:
    commands: dict[str, type[RetryJob | CancelJob | ForceRunJob]]
    commands = {"retry": RetryJob, "cancel": CancelJob, "run": ForceRunJob}
    return commands[verb](job_id=JobId(job_id))


@pytest.mark.parametrize(
    ("status", "verb", "event", "after"),
    [
        ("PENDING", "cancel", "job.cancelled.v1", "CANCELLED"),
        ("PENDING", "run", "job.force_run.v1", "PENDING"),
        ("RUNNING", "cancel", "job.cancelled.v1", "CANCELLED"),
        ("FAILED", "retry", "job.retried.v1", "PENDING"),
    ],
)
async def test_a_command_is_carried_out_where_it_is_allowed(
    driver: Driver, status: str, verb: str, event: str, after: str
) -> None:
    job_id = await BRING[status](driver)
    before = await driver.job(job_id)
    outcome = await driver.do(asked(verb, job_id), reason="because")
    assert (outcome.status, outcome.code, job_of(outcome).status) == ("done", None, after)
    last = (await driver.history(job_id)).items[-1]
    assert (last.type, last.version, last.before, last.after) == (event, before.version + 1, status, after)
    assert (last.position, last.command_id, last.reason) == (outcome.position, outcome.command_id, "because")


@pytest.mark.parametrize(
    ("verb", "status", "code"),
    [
        *(("retry", status, "job_not_failed") for status in ("PENDING", "RUNNING", "COMPLETED", "CANCELLED")),
        *(("cancel", status, "job_finished") for status in ("COMPLETED", "FAILED", "CANCELLED")),
        *(("run", status, "job_not_pending") for status in ("RUNNING", "COMPLETED", "FAILED", "CANCELLED")),
    ],
)
async def test_a_command_is_refused_elsewhere_and_the_refusal_recorded(
    driver: Driver, verb: str, status: str, code: str
) -> None:
    job_id = await BRING[status](driver)
    before = await driver.job(job_id)
    outcome = await driver.do(asked(verb, job_id))
    assert (outcome.status, outcome.code, outcome.position) == ("refused", code, None)
    assert outcome.facts["status"] == status
    assert outcome.job == before
    [(refused,)] = rows_of(
        driver.owner_url,
        "SELECT data::text FROM event WHERE command_id = %s AND type = 'command.refused.v1'",
        (outcome.command_id,),
    )
    assert f'"code":"{code}"' in refused
    assert f'"target_id":"{job_id}"' in refused


@pytest.mark.parametrize("verb", ["retry", "cancel", "run"])
async def test_a_job_that_does_not_exist_is_not_found(driver: Driver, verb: str) -> None:
    outcome = await driver.do(asked(verb, new_id()))
    assert (outcome.status, outcome.code, outcome.job) == ("refused", "job_not_found", None)


async def test_a_job_id_is_taken_once(driver: Driver) -> None:
    created = await driver.create()
    again = await driver.do(driver.creation(job_id=created.id))
    assert (again.status, again.code) == ("refused", "job_exists")


async def test_a_job_is_not_planned_beyond_ten_years(driver: Driver) -> None:
    outcome = await driver.do(driver.creation(run_at=clock.now() + timedelta(days=4000)))
    assert (outcome.status, outcome.code) == ("refused", "run_at_too_far")


async def test_a_command_about_another_version_is_refused(driver: Driver) -> None:
    created = await driver.create()
    job_id = JobId(created.id)
    wanted = message(CancelJob(job_id=job_id), expected_version=2)
    [conflict] = await send(driver.gateway, wanted)
    assert (conflict.status, conflict.code) == ("refused", "version_conflict")
    assert conflict.facts == {
        "version": 1,
        "status": "PENDING",
        "position": created.position,
        "changed_by": {"id": ADMIN.id, "kind": "user"},
        "changed_at": instants.written(created.created_at),
    }
    later = OneCommand(command_id=wanted.command_id)
    assert (await queries.ask(driver.gateway, "jobs", "command", later, CommandOutcome)).facts == conflict.facts
    assert (await driver.do(CancelJob(job_id=job_id), expected_version=1)).status == "done"


async def test_a_command_that_waited_too_long_is_refused(driver: Driver) -> None:
    created = await driver.create()
    late = await driver.do(CancelJob(job_id=JobId(created.id)), expires_at=clock.now() - timedelta(seconds=1))
    assert (late.status, late.code) == ("refused", "command_expired")
    assert (await driver.job(created.id)).status is JobStatus.PENDING


async def test_a_repeated_command_gets_the_same_outcome_and_acts_once(driver: Driver) -> None:
    wanted = message(driver.creation(payload={"n": 1}))
    first, twin = await send(driver.gateway, wanted, wanted)
    later = await driver.do(wanted.command, **wanted.model_dump(include={"command_id", "correlation_id"}))
    assert first == twin == later
    assert await driver.events(str(first.job_id)) == ["job.created.v1"]

    asked_for = await queries.ask(
        driver.gateway, "jobs", "command", OneCommand(command_id=wanted.command_id), CommandOutcome
    )
    assert asked_for == first


async def test_a_repeated_refusal_is_recorded_once(driver: Driver) -> None:
    wanted = message(RetryJob(job_id=JobId(await driver.pending())))
    outcomes = await send(driver.gateway, wanted, wanted)
    outcomes += await send(driver.gateway, wanted)
    assert [outcome.code for outcome in outcomes] == ["job_not_failed"] * 3
    [(recorded,)] = rows_of(driver.owner_url, "SELECT count(*) FROM event WHERE command_id = %s", (wanted.command_id,))
    assert recorded == 1


async def test_a_command_id_is_not_taken_for_another_request(driver: Driver) -> None:
    created = await driver.create()
    wanted = message(CancelJob(job_id=JobId(created.id)), body_digest="a" * 64)
    other = wanted.model_copy(update={"body_digest": "b" * 64})
    # The first two arrive together, the others when the first is stored.
    outcomes = await send(driver.gateway, wanted, other)
    outcomes += await send(driver.gateway, other, wanted)
    assert [outcome.code for outcome in outcomes] == [
        None,
        "idempotency_key_reused",
        "idempotency_key_reused",
        None,
    ]
    assert outcomes[0].position == outcomes[3].position
    assert await driver.events(created.id) == ["job.created.v1", "job.cancelled.v1"]


async def test_an_outcome_that_is_forgotten_may_be_decided_again(driver: Driver) -> None:
    wanted = message(RetryJob(job_id=JobId(await driver.pending())))
    [first] = await send(driver.gateway, wanted)
    change(driver.owner_url, "DELETE FROM command_outcome WHERE command_id = %s", (wanted.command_id,))
    [again] = await send(driver.gateway, wanted)
    assert first == again


async def test_an_unknown_command_has_no_outcome(driver: Driver) -> None:
    with pytest.raises(Refused, match="command_not_found"):
        await queries.ask(driver.gateway, "jobs", "command", OneCommand(command_id=CommandId(new_id())), CommandOutcome)


async def test_commands_about_one_job_that_arrive_together_see_each_other(driver: Driver) -> None:
    creation = driver.creation()
    job_id = creation.job_id
    outcomes = await send(
        driver.gateway,
        message(creation),
        message(ForceRunJob(job_id=job_id)),
        message(CancelJob(job_id=job_id)),
        message(CancelJob(job_id=job_id)),
    )
    assert [outcome.code for outcome in outcomes] == [None, None, None, "job_finished"]
    assert await driver.events(job_id) == ["job.created.v1", "job.force_run.v1", "job.cancelled.v1"]


async def test_many_commands_are_all_answered(driver: Driver) -> None:
    rounds = await asyncio.gather(*(driver.create_many(60) for _ in range(5)))
    assert len({job.id for jobs in rounds for job in jobs}) == 300
