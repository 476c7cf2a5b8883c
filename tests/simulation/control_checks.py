"""What every store must do where queues or kinds are paused or limited."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest

from jobplane.contracts.actors import Actor, ActorKind
from jobplane.contracts.commands import ForceRunJob
from jobplane.contracts.ids import JobId
from jobplane.contracts.jobs import JobStatus
from jobplane.contracts.queues import LimitsSet, Pause, Rate
from jobplane.jobs.allowance import Permit
from jobplane.jobs.decider import CompleteJob, LeaseJob
from jobplane.jobs.queue import Control, Target
from jobplane.jobs.store import Claimable
from tests.integration.jobs.driving import KIND
from tests.integration.jobs.wishing import by_worker, command, create, creation
from tests.simulation.shelf import NOTHING, Shelf, claimed, settle, soon

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
WHO = Actor(id="account-1", kind=ActorKind.USER)
PAUSED = Pause(at=NOON, by=WHO)
QUEUE, OF_KIND = Target("queue", "default"), Target("kind", KIND)


def limited(target: Target, *, concurrency: int | None = None, rate: Rate | None = None) -> Control:
    """It is limited so."""
    return Control(target, 1, limits=LimitsSet(concurrency=concurrency, rate=rate, at=NOON, by=WHO))


async def started(shelf: Shelf, most: int = 10, kinds: Sequence[str] = (KIND,)) -> tuple[list[str], Permit | None]:
    """Claim and start what may start, as a worker that asks for so many."""
    selection = Claimable("default", kinds, most)
    settled, permit = await shelf.ledger.claim(
        selection, lambda found, _now: [by_worker(LeaseJob(item.job.id, "w", "t" * 32, 1000)) for item in found]
    )
    return [item.wish.command.job_id for item in settled], permit


async def made(shelf: Shelf, count: int, kind: str = KIND, priority: int = 0) -> list[JobId]:
    return [(await create(shelf.ledger, kind=kind, priority=priority)).id for _ in range(count)]


class ControlChecks:
    """Inherit in a module that has a fixture `shelf`."""

    @pytest.mark.parametrize("target", [QUEUE, OF_KIND])
    async def test_where_it_is_paused_only_forced_jobs_are_claimed(self, shelf: Shelf, target: Target) -> None:
        _, forced, _ = await made(shelf, 3)
        await shelf.control(Control(target, 1, paused=PAUSED))
        assert await claimed(shelf.store) == []
        await settle(shelf, ForceRunJob(job_id=forced))
        assert await claimed(shelf.store) == [forced]

    async def test_a_paused_kind_holds_up_no_other(self, shelf: Shelf) -> None:
        await made(shelf, 3, priority=9)
        others = await made(shelf, 2, "test.other")
        await shelf.control(Control(OF_KIND, 1, paused=PAUSED))
        assert await claimed(shelf.store, kinds=[KIND, "test.other"]) == others

    async def test_controls_of_others_mean_nothing(self, shelf: Shelf) -> None:
        ids = await made(shelf, 2)
        await shelf.control(Control(Target("queue", "elsewhere"), 1, paused=PAUSED))
        await shelf.control(Control(Target("kind", "test.other"), 1, paused=PAUSED))
        await shelf.control(Control(QUEUE, 2))
        assert await started(shelf) == (ids, None)

    @pytest.mark.parametrize("target", [QUEUE, OF_KIND])
    async def test_no_more_run_at_once_than_may(self, shelf: Shelf, target: Target) -> None:
        ids = await made(shelf, 5)
        await shelf.control(limited(target, concurrency=3))
        assert (await started(shelf, 2))[0] == ids[:2]
        assert (await started(shelf))[0] == ids[2:3]
        assert (await started(shelf))[0] == []
        await settle(shelf, CompleteJob(ids[0], "t" * 32))
        assert (await started(shelf))[0] == ids[3:4]

    async def test_forced_jobs_count_under_a_limit(self, shelf: Shelf) -> None:
        first, forced = await made(shelf, 2)
        await shelf.control(Control(QUEUE, 1, PAUSED, limited(QUEUE, concurrency=1).limits))
        for job_id in (first, forced):
            await settle(shelf, ForceRunJob(job_id=job_id))
        assert len((await started(shelf))[0]) == 1
        assert (await started(shelf))[0] == []

    async def test_a_full_kind_holds_up_no_other(self, shelf: Shelf) -> None:
        ids = await made(shelf, 20, priority=9)
        others = await made(shelf, 2, "test.other")
        await shelf.control(limited(OF_KIND, concurrency=1))
        assert (await started(shelf, 10, [KIND, "test.other"]))[0] == [ids[0], *others]

    @pytest.mark.parametrize("target", [QUEUE, OF_KIND])
    async def test_no_more_start_than_a_rate_allows(self, shelf: Shelf, target: Target) -> None:
        ids = await made(shelf, 10)
        await shelf.control(limited(target, rate=Rate(starts=1, every_s=3600, burst=3)))
        begun, permit = await started(shelf, 2)
        assert begun == ids[:2]
        begun, permit = await started(shelf)
        assert begun == ids[2:3]
        begun, permit = await started(shelf)
        assert begun == []
        assert permit is not None
        assert permit.again_in is not None
        assert timedelta(minutes=59) < permit.again_in <= timedelta(hours=1)
        await shelf.pass_time(target, timedelta(hours=2))
        assert (await started(shelf))[0] == ids[3:5]
        await shelf.pass_time(target, timedelta(hours=100))
        assert (await started(shelf))[0] == ids[5:8], "what was not used is saved up to a burst"

    async def test_whoever_starts_jobs_under_a_limit_goes_one_after_the_other(self, shelf: Shelf) -> None:
        ids = await made(shelf, 5)
        await shelf.control(limited(QUEUE, concurrency=2))
        async with shelf.store.transaction() as tx:
            found = await tx.read(Claimable("default", [KIND], 1), NOTHING)
            assert [item.job.id for item in found.held] == ids[:1]
            second = await soon(started(shelf, 1))
            assert not second.done()
        assert (await second)[0] == ids[:1], "what the first took it gave up"

    @pytest.mark.parametrize("control", [Control(QUEUE, 1, paused=PAUSED), limited(OF_KIND, concurrency=1)])
    async def test_nothing_starts_as_it_is_made_where_it_is_controlled(self, shelf: Shelf, control: Control) -> None:
        await shelf.control(control)
        wish = command(creation())
        lease = by_worker(LeaseJob(wish.command.job_id, "w", "t" * 32, 1000))
        [settled] = await shelf.ledger.settle([wish], [lease])
        assert settled.held is not None
        assert settled.held.job.status is JobStatus.PENDING
        assert await shelf.status(wish.command.job_id) == "PENDING"

    async def test_what_is_made_elsewhere_starts_as_it_is_made(self, shelf: Shelf) -> None:
        await shelf.control(Control(Target("queue", "elsewhere"), 1, paused=PAUSED))
        wish = command(creation())
        lease = by_worker(LeaseJob(wish.command.job_id, "w", "t" * 32, 1000))
        assert len(await shelf.ledger.settle([wish], [lease])) == 2
        assert await shelf.status(wish.command.job_id) == "RUNNING"
