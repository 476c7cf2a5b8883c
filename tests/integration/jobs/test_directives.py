"""Commands about what is no job: decided once each, recorded, remembered, refused while writes are halted."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import clock
from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import Journal, Transaction
from jobplane.chassis.refusals import Tally
from jobplane.contracts.commands import AnyDirective
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.queues import PauseQueue, QueuePaused
from jobplane.jobs.decider import Rejected
from jobplane.jobs.directives import Directives, Ruling
from jobplane.jobs.reasons import ReasonPolicy
from jobplane.jobs.wishes import Cause, Delivered, Directive
from tests.integration.jobs.driving import ADMIN
from tests.integration.jobs.truth import assert_consistent, change, rows_of
from tests.support.servers import Database

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Rules:
    """Pauses every queue but one that is called `stubborn`."""

    def __init__(self) -> None:
        self.asked = 0
        self.heard: list[Ruling] = []

    async def pause(self, _tx: Transaction, directive: Directive, _now: datetime) -> Ruling | Rejected:
        self.asked += 1
        if directive.command.target == "stubborn":
            return Rejected("queue_stubborn", "It cannot be paused: leave it alone.")
        return Ruling(new_id(), 0, [QueuePaused(queue=directive.command.target)], {"paused": True})


@pytest.fixture
def rules() -> Rules:
    return Rules()


@pytest.fixture
def directives(pool: AsyncConnectionPool, rules: Rules, database: Database) -> Iterator[Directives]:
    yield Directives(
        Journal(pool), Tally(), {PauseQueue: rules.pause}, lambda _directive, ruling: rules.heard.append(ruling)
    )
    assert_consistent(database.owner_url)


def directive(command: AnyDirective, **more: Any) -> Directive:
    told: dict[str, Any] = {
        "command_id": new_id(),
        "verb": command.type,
        "expires_at": clock.now() + timedelta(hours=1),
        "body_digest": "a" * 64,
    }
    return Directive(command, Cause(ADMIN, new_id(), reason="it burns"), Delivered(**(told | more)))


def caused_by(database: Database, asked: Directive) -> list[tuple[str, dict[str, Any], str]]:
    query = "SELECT type, data::text, reason FROM event WHERE command_id = %s"
    found = rows_of(database.owner_url, query, (asked.delivered.command_id,))
    return [(type_, json.loads(data), reason) for type_, data, reason in found]


async def test_it_is_recorded_and_whoever_follows_is_told(
    directives: Directives, rules: Rules, database: Database
) -> None:
    asked = directive(PauseQueue(queue="slow"))
    stored = await directives.carry_out(asked)
    assert (stored.status, stored.facts) == ("done", {"paused": True})
    assert stored.position is not None
    assert caused_by(database, asked) == [("queue.paused.v1", {"queue": "slow", "drain": False}, "it burns")]
    assert len(rules.heard) == 1


async def test_a_repeated_one_gets_the_same_outcome_and_acts_once(
    directives: Directives, rules: Rules, database: Database
) -> None:
    asked = directive(PauseQueue(queue="slow"))
    first, *others = await asyncio.gather(*(directives.carry_out(asked) for _ in range(4)))
    assert [first] * 3 == others
    assert await directives.carry_out(asked) == first
    assert len(caused_by(database, asked)) == 1
    assert len(rules.heard) == 1


async def test_a_reused_key_is_refused(directives: Directives) -> None:
    asked = directive(PauseQueue(queue="slow"))
    await directives.carry_out(asked)
    other = directive(PauseQueue(queue="fast"), command_id=asked.delivered.command_id, body_digest="b" * 64)
    assert (await directives.carry_out(other)).code == "idempotency_key_reused"


async def test_a_refusal_is_recorded_with_what_it_was_about(
    directives: Directives, rules: Rules, database: Database
) -> None:
    asked = directive(PauseQueue(queue="stubborn"))
    stored = await directives.carry_out(asked)
    assert (stored.status, stored.code) == ("refused", "queue_stubborn")
    told = {"command": "pause_queue", "code": "queue_stubborn", "target_type": "queue", "target_id": "stubborn"}
    assert caused_by(database, asked) == [("command.refused.v1", told | {"count": 1}, "it burns")]
    assert rules.heard == []


async def test_one_that_comes_too_late_is_refused_before_anybody_decides(directives: Directives, rules: Rules) -> None:
    asked = directive(PauseQueue(queue="slow"), expires_at=clock.now() - timedelta(seconds=1))
    assert (await directives.carry_out(asked)).code == "command_expired"
    assert rules.asked == 0


async def test_what_needs_a_reason_is_refused_without_one(pool: AsyncConnectionPool, rules: Rules) -> None:
    policy = ReasonPolicy.of(["pause_queue"])
    directives = Directives(Journal(pool), Tally(), {PauseQueue: rules.pause}, reasons=policy)
    asked = directive(PauseQueue(queue="slow"))
    assert (await directives.carry_out(asked)).status == "done"
    silent = directive(PauseQueue(queue="slow"))
    silent.cause = replace(silent.cause, reason=None)
    assert (await directives.carry_out(silent)).code == "reason_required"
    assert rules.asked == 1


@pytest.mark.parametrize("queue", ["slow", "stubborn"])
async def test_while_writes_are_halted_nothing_is_decided(
    directives: Directives, database: Database, queue: str
) -> None:
    asked = directive(PauseQueue(queue=queue))
    change(database.owner_url, "UPDATE journal_head SET halted = 'for a test'")
    try:
        with pytest.raises(Unavailable, match="halted"):
            await directives.carry_out(asked)
    finally:
        change(database.owner_url, "UPDATE journal_head SET halted = NULL")
    assert caused_by(database, asked) == []
    assert (await directives.carry_out(asked)).status == ("done" if queue == "slow" else "refused")
