"""Refusals are recorded: each one, until there are too many alike; then one event sums up the rest."""

import json
from datetime import timedelta
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import clock
from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import Journal
from jobplane.contracts.actors import Actor, ActorKind, Role
from jobplane.contracts.commands import ForceRunJob, RetryJob
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.ids import JobId
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.postgres_store import PostgresStore
from tests.integration.jobs import wishing
from tests.integration.jobs.truth import assert_consistent, change, rows_of
from tests.integration.jobs.wishing import command
from tests.support.servers import Database

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest.fixture
def actor() -> Actor:
    return Actor(id=new_id(), kind=ActorKind.USER, role=Role.ADMIN)


def recorded(database: Database, actor: Actor) -> list[dict[str, Any]]:
    query = "SELECT data::text FROM event WHERE type = 'command.refused.v1' AND actor->>'id' = %s ORDER BY pos"
    return [json.loads(text) for (text,) in rows_of(database.owner_url, query, (actor.id,))]


async def refuse(ledger: Ledger, actor: Actor, times: int, *, batch: int = 10) -> None:
    wishes = [command(RetryJob(job_id=JobId(new_id())), actor=actor) for _ in range(times)]
    for begin in range(0, times, batch):
        await ledger.settle(wishes[begin : begin + batch])


async def test_each_refusal_says_who_wanted_what_and_why_not(ledger: Ledger, actor: Actor, database: Database) -> None:
    job = await wishing.create(ledger)
    await ledger.settle([command(RetryJob(job_id=job.id), actor=actor)])
    assert recorded(database, actor) == [
        {
            "command": "retry",
            "code": "job_not_failed",
            "target_type": "job",
            "target_id": job.id,
            "status": "PENDING",
            "count": 1,
        }
    ]


async def test_after_twenty_alike_in_a_minute_one_event_sums_up_the_rest(
    ledger: Ledger, actor: Actor, database: Database
) -> None:
    await refuse(ledger, actor, 35)
    assert [refusal["count"] for refusal in recorded(database, actor)] == [1] * 20
    assert await ledger.sum_up_refusals(clock.now()) == 0
    assert await ledger.sum_up_refusals(clock.now() + timedelta(minutes=1)) == 1
    assert [refusal["count"] for refusal in recorded(database, actor)] == [*[1] * 20, 15]
    await refuse(ledger, actor, 1)
    assert len(recorded(database, actor)) == 22, "a new minute has begun"
    assert_consistent(database.owner_url)


async def test_the_end_of_the_service_sums_up_what_is_left(ledger: Ledger, actor: Actor, database: Database) -> None:
    await refuse(ledger, actor, 23)
    assert await ledger.sum_up_refusals(clock.now(), closing=True) == 1
    assert recorded(database, actor)[-1]["count"] == 3
    assert await ledger.sum_up_refusals(clock.now(), closing=True) == 0


async def test_codes_and_actors_are_counted_apart(ledger: Ledger, actor: Actor, database: Database) -> None:
    job = await wishing.failed(ledger)
    other = actor.model_copy(update={"id": new_id()})
    await refuse(ledger, actor, 20)
    await ledger.settle([command(ForceRunJob(job_id=job.id), actor=actor)])
    await refuse(ledger, other, 1)
    assert [refusal["code"] for refusal in recorded(database, actor)] == ["job_not_found"] * 20 + ["job_not_pending"]
    assert len(recorded(database, other)) == 1


async def test_every_refused_command_has_its_outcome_recorded_or_summed_up(
    ledger: Ledger, actor: Actor, database: Database
) -> None:
    wishes = [command(RetryJob(job_id=JobId(new_id())), actor=actor) for _ in range(25)]
    await ledger.settle(wishes)
    ids = [wish.delivered.command_id for wish in wishes if wish.delivered]
    query = "SELECT count(*) FROM command_outcome WHERE command_id = ANY(%s::uuid[]) AND code = 'job_not_found'"
    assert rows_of(database.owner_url, query, (ids,)) == [(25,)]


async def test_a_rolled_back_refusal_is_not_counted(
    pool: AsyncConnectionPool, actor: Actor, database: Database
) -> None:
    journal = Journal(pool)
    ledger = Ledger(PostgresStore(journal))
    await journal.halt("a test", 1)
    for _ in range(30):
        with pytest.raises(Unavailable, match="halted"):
            await refuse(ledger, actor, 1)
    change(database.owner_url, "UPDATE journal_head SET halted = NULL")
    await refuse(ledger, actor, 3)
    assert len(recorded(database, actor)) == 3
