"""What is secret in a job, through the real service: shown to nobody, given to workers, never replaced by its mark."""

import json

import pytest
from pydantic import BaseModel, JsonValue

from jobplane.chassis import queries
from jobplane.contracts.commands import EditJob, RetryJob
from jobplane.contracts.envelope import CommandOutcome
from jobplane.contracts.error_groups import ErrorGroupPage, ErrorGroupView, ListErrorGroups, OneErrorGroup
from jobplane.contracts.jobs import Attempts, History, JobPage, JobView
from jobplane.contracts.queries import ListJobs, OneCommand, OneJob, OneJobAttempts, OneJobHistory
from tests.integration.jobs.driving import Driver, done, failed, message, send

pytestmark = pytest.mark.asyncio(loop_scope="module")

PAYLOAD: dict[str, JsonValue] = {"user": 42, "nested": [{"apiKey": "hunter2"}]}
SHOWN: dict[str, JsonValue] = {"user": 42, "nested": [{"apiKey": "[redacted]"}]}
ERROR = {"message": "login with password=hunter2 failed", "stack": "line 1: token='hunter2'"}


async def test_what_is_secret_is_in_no_answer_but_workers_get_it(driver: Driver) -> None:
    answers: list[BaseModel] = []
    create = await driver.do(driver.creation(payload=PAYLOAD, max_attempts=1))
    answers.append(create)
    assert create.job is not None
    job_id = create.job.id
    assert create.job.payload == SHOWN
    [leased] = await driver.lease()
    assert leased.payload == PAYLOAD
    await driver.report(failed(leased, **ERROR))
    changed = PAYLOAD | {"user": 43, "cookie": "hunter2"}
    answers += await send(driver.gateway, message(EditJob(job_id=job_id, payload=changed), reason="a test"))

    async def ask(name: str, asked: BaseModel, model: type[BaseModel]) -> BaseModel:
        answers.append(await queries.ask(driver.gateway, "jobs", name, asked, model))
        return answers[-1]

    shown = await ask("detail", OneJob(job_id=job_id), JobView)
    assert isinstance(shown, JobView)
    assert shown.error is not None
    assert (shown.error.message, shown.error.stack) == (
        "login with password=[redacted] failed",
        "line 1: token='[redacted]'",
    )
    await ask("detail", OneJob(job_id=job_id, position=create.position), JobView)
    await ask("errors", ListErrorGroups(), ErrorGroupPage)
    await ask("error", OneErrorGroup(fingerprint=shown.error.fingerprint), ErrorGroupView)
    answers += await send(driver.gateway, message(RetryJob(job_id=job_id)))
    [leased] = await driver.lease()
    assert leased.payload == changed
    await driver.report(done(leased, result={"session_token": "hunter2", "n": 1}))
    await ask("list", ListJobs(), JobPage)
    await ask("history", OneJobHistory(job_id=job_id), History)
    await ask("attempts", OneJobAttempts(job_id=job_id), Attempts)
    await ask("command", OneCommand(command_id=create.command_id), CommandOutcome)
    last = await ask("detail", OneJob(job_id=job_id), JobView)
    assert isinstance(last, JobView)
    assert last.result == {"session_token": "[redacted]", "n": 1}
    assert not [answer for answer in answers if "hunter2" in answer.model_dump_json()]
    revealed = await queries.ask(driver.gateway, "jobs", "unredacted", OneJob(job_id=job_id), JobView)
    assert (revealed.payload, revealed.result) == (changed, {"session_token": "hunter2", "n": 1})


async def test_what_is_shown_in_place_of_a_secret_is_not_taken_for_it(driver: Driver) -> None:
    job = await driver.create(payload=PAYLOAD)
    refused = await driver.do(EditJob(job_id=job.id, payload=SHOWN | {"user": 43}), reason="a test")
    assert (refused.status, refused.code) == ("refused", "payload_redacted")
    assert (await driver.do(driver.creation(payload=SHOWN))).code == "payload_redacted"
    harmless: dict[str, JsonValue] = {"user": "[redacted]", "note": "he wrote [redacted]"}
    assert (await driver.do(EditJob(job_id=job.id, payload=harmless), reason="a test")).status == "done"


async def test_an_edit_of_a_secret_is_seen_but_not_the_secret(driver: Driver) -> None:
    job = await driver.create(payload={"password": "hunter2"})
    await driver.do(EditJob(job_id=job.id, payload={"password": "hunter3"}), reason="a test")
    [change] = (await driver.history(job.id)).items[-1].changes
    assert json.loads(change.model_dump_json()) == {
        "field": "payload",
        "before": {"password": "[redacted]"},
        "after": {"password": "[redacted]"},
    }
