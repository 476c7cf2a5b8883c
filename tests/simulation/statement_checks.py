"""What the statements must do that go past the store: beats, scheduler, rescuer, and what a request was given."""

from datetime import timedelta

from jobplane.chassis.ids import new_id
from jobplane.contracts.commands import CancelJob
from jobplane.contracts.workers import Beat, LeaseRequest, RunningJob
from jobplane.jobs.beats import Beats
from jobplane.jobs.claims import Claims
from jobplane.jobs.rescuer import Rescuer
from jobplane.jobs.scheduler import Scheduler
from jobplane.jobs.store import Due
from tests.integration.jobs.driving import KIND
from tests.integration.jobs.wishing import create, start
from tests.simulation.shelf import (
    Shelf,
    claimed,
    create_at,
    holding,
    overdue,
    settle,
)


class StatementChecks:
    """The conformance suite of the loops."""

    async def test_the_rescuer_looks_before_it_locks(self, shelf: Shelf) -> None:
        rescuer = Rescuer(shelf.ledger, shelf.pool)
        job = await create(shelf.ledger)
        await start(shelf.ledger, job.id)
        assert await rescuer.run_once() == 0
        await shelf.move(job.id, "lease_until", -timedelta(hours=1))
        assert await rescuer.run_once() == 1
        assert await shelf.status(job.id) == "PENDING"

    async def test_the_scheduler_makes_ready_what_is_due(self, shelf: Shelf) -> None:
        woken: list[str] = []
        scheduler = Scheduler(shelf.pool, woken.append)
        assert await scheduler.run_once() == 0
        now = (await create(shelf.ledger, queue="elsewhere")).created_at
        jobs = [await create_at(shelf, now + timedelta(hours=1)) for _ in range(2)]
        assert (await scheduler.run_once(), await claimed(shelf.store)) == (0, [])
        for job in jobs:
            await shelf.move(job.id, "run_at", -timedelta(hours=2))
        async with holding(shelf.store, jobs[0].id):
            assert await scheduler.run_once() == 1
        assert await claimed(shelf.store) == [jobs[1].id]
        assert (await scheduler.run_once(), set(woken)) == (1, {"default"})
        assert len(await claimed(shelf.store)) == 2

    async def test_a_beat_extends_the_lease_it_names(self, shelf: Shelf) -> None:
        job = await create(shelf.ledger)
        running = await start(shelf.ledger, job.id, lease_ms=60_000)
        await shelf.move(job.id, "lease_until", -timedelta(seconds=50))
        beats = Beats(shelf.ledger, shelf.pool)
        mentioned = [RunningJob(job=job.id, token=running.token or "", progress=0.5), RunningJob(job=job.id, token="x")]
        [reply] = await beats.serve([Beat(worker="worker-1", running=mentioned)])
        assert running.started_at is not None
        assert reply.extend_to is not None
        assert reply.extend_to > running.started_at + timedelta(seconds=55)
        assert (reply.cancel, reply.lost) == ([], [job.id])

    async def test_a_beat_hears_of_a_cancel(self, shelf: Shelf) -> None:
        job = await create(shelf.ledger)
        running = await start(shelf.ledger, job.id, lease_ms=60_000)
        await settle(shelf, CancelJob(job_id=job.id))
        told = Beat(worker="worker-1", running=[RunningJob(job=job.id, token=running.token or "")])
        [reply] = await Beats(shelf.ledger, shelf.pool).serve([told])
        assert (reply.extend_to, reply.cancel, reply.lost) == (None, [job.id], [])
        await shelf.move(job.id, "finished_at", -timedelta(seconds=61))
        assert await overdue(shelf.store, Due.UNSETTLED) == []

    async def test_a_run_that_two_beats_do_not_mention_is_given_back(self, shelf: Shelf) -> None:
        beats = Beats(shelf.ledger, shelf.pool)
        job = await create(shelf.ledger)
        await start(shelf.ledger, job.id, lease_ms=60_000)
        for status in ("RUNNING", "RUNNING"):
            await beats.serve([Beat(worker="worker-1"), Beat(worker="worker-2")])
            assert await shelf.status(job.id) == status
        await shelf.move(job.id, "unmentioned_at", -timedelta(seconds=20))
        await beats.serve([Beat(worker="worker-1")])
        assert await shelf.status(job.id) == "PENDING"

    async def test_what_a_request_was_given_is_found_again(self, shelf: Shelf) -> None:
        claims = Claims(shelf.ledger, shelf.pool)
        await create(shelf.ledger, payload={"n": 1})
        await create(shelf.ledger, payload={"n": "x" * 4096})
        request = LeaseRequest(request_id=new_id(), worker="worker-1", kinds=[KIND], max=5)
        [given] = (await claims.claim("default", [request])).jobs
        assert len(given) == 2
        assert sorted(map(repr, await claims.given(request))) == sorted(map(repr, given))
        assert await claims.given(request.model_copy(update={"worker": "worker-2"})) == []
        assert await claims.given(request.model_copy(update={"request_id": new_id()})) == []
