"""What every store must do, whatever keeps it; `shelf` (a store and a look behind it) comes from the using module."""

import asyncio
from datetime import datetime, timedelta

import pytest
from psycopg.errors import UniqueViolation

from jobplane.chassis.ids import new_id
from jobplane.contracts.commands import CancelJob, CreateJob, EditJob, ForceRunJob, RetryJob
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.ids import JobId
from jobplane.contracts.job_events import ErrorFact
from jobplane.contracts.jobs import JobStatus
from jobplane.jobs.batch import Batch, refusal
from jobplane.jobs.decider import REFUSALS, ArchiveJob, CompleteJob, FailJob, LeaseLost, Rejected
from jobplane.jobs.store import ById, Changes, Claimable, Due, Known
from jobplane.jobs.wishes import Wish
from tests.integration.jobs.driving import KIND
from tests.integration.jobs.wishing import command, create, creation, failed, start
from tests.simulation.shelf import (
    NOTHING,
    Shelf,
    claimed,
    create_at,
    decide,
    holding,
    overdue,
    settle,
    soon,
)


class StoreChecks:
    """The conformance suite."""

    async def test_what_was_written_is_read(self, shelf: Shelf) -> None:
        wish = command(creation(priority=5, max_attempts=2, timeout_ms=700, tags=["a", "b"], payload={"n": [1]}))
        [settled] = await shelf.ledger.settle([wish])
        assert settled.position == 1
        async with shelf.store.transaction() as tx:
            found = await tx.read(ById([wish.command.job_id, JobId(new_id())]), NOTHING)
        [item] = found.held
        assert settled.held is not None
        assert (item.job, item.before, item.position) == (settled.held.job, settled.held.job, 1)
        assert (item.traceparent, item.correlation_id) == (settled.held.traceparent, settled.held.correlation_id)
        assert item.lease_until is None
        assert found.now >= settled.at
        assert await shelf.counts() == {("default", "PENDING"): 1}

    async def test_positions_are_given_in_order_and_told(self, shelf: Shelf) -> None:
        first = await settle(shelf, *(creation() for _ in range(3)))
        second = await settle(shelf, CancelJob(job_id=first[0].wish.command.job_id), creation())
        assert [one.position for one in first + second] == [1, 2, 3, 4, 5]
        assert await shelf.positions() == [1, 2, 3, 4, 5]

    async def test_a_rollback_leaves_nothing_behind(self, shelf: Shelf) -> None:
        job = await create(shelf.ledger)

        async def fail() -> None:
            async with shelf.store.transaction() as tx:
                await tx.write(await decide(tx, ById([job.id]), command(CancelJob(job_id=job.id))))
                raise ValueError("after the write")

        with pytest.raises(ValueError, match="after the write"):
            await fail()
        assert await shelf.status(job.id) == "PENDING"
        assert await shelf.counts() == {("default", "PENDING"): 1}
        assert [one.position for one in await settle(shelf, creation())] == [2]
        assert await shelf.positions() == [1, 2]

    async def test_what_is_not_committed_is_not_seen(self, shelf: Shelf) -> None:
        job = await create(shelf.ledger)
        wish = command(CancelJob(job_id=job.id))
        async with shelf.store.transaction() as tx:
            await tx.write(await decide(tx, ById([job.id]), wish))
            assert await shelf.status(job.id) == "PENDING"
            assert await shelf.positions() == [1]
        assert await shelf.status(job.id) == "CANCELLED"

    async def test_a_job_by_id_is_waited_for_and_then_read_anew(self, shelf: Shelf) -> None:
        job = await create(shelf.ledger)
        async with shelf.store.transaction() as tx:
            changes = await decide(tx, ById([job.id]), command(CancelJob(job_id=job.id)))
            later = await soon(settle(shelf, CancelJob(job_id=job.id)))
            assert not later.done()
            await tx.write(changes)
        [refused] = await later
        assert refused.event is None
        assert refused.held is not None
        assert refused.held.job.status is JobStatus.CANCELLED

    async def test_the_clock_is_read_after_all_locks(self, shelf: Shelf) -> None:
        job = await create(shelf.ledger)

        async def read() -> datetime:
            async with shelf.store.transaction() as tx:
                return (await tx.read(ById([job.id]), NOTHING)).now

        async with holding(shelf.store, job.id):
            later = await soon(read())
            assert not later.done()
            meanwhile = await create(shelf.ledger)
        assert await later >= meanwhile.created_at

    async def test_a_claim_skips_what_others_hold(self, shelf: Shelf) -> None:
        first, second = await create(shelf.ledger), await create(shelf.ledger)
        async with holding(shelf.store, first.id):
            assert await claimed(shelf.store) == [second.id]
        assert await claimed(shelf.store) == [first.id, second.id]

    async def test_a_claim_takes_in_order_and_no_more_than_it_wants(self, shelf: Shelf) -> None:
        late, early, urgent, forced = [await create(shelf.ledger, priority=p) for p in (0, 0, 5, -5)]
        await shelf.move(early.id, "run_at", -timedelta(seconds=5))
        await shelf.ledger.settle([command(ForceRunJob(job_id=forced.id))])
        await create(shelf.ledger, kind="test.other")
        await create(shelf.ledger, queue="elsewhere")
        now = (await create(shelf.ledger, queue="elsewhere")).created_at
        await create_at(shelf, now + timedelta(hours=1))
        assert await claimed(shelf.store) == [forced.id, urgent.id, early.id, late.id]
        assert await claimed(shelf.store, limit=2) == [forced.id, urgent.id]

    async def test_an_edited_job_is_claimed_where_and_when_the_edit_says(self, shelf: Shelf) -> None:
        job = await create(shelf.ledger)
        edit = command(
            EditJob(job_id=job.id, queue="elsewhere", priority=3, max_attempts=9, payload={"n": 2}), reason="so"
        )
        await shelf.ledger.settle([edit])
        assert await claimed(shelf.store) == []
        assert await claimed(shelf.store, queue="elsewhere") == [job.id]
        assert {key: n for key, n in (await shelf.counts()).items() if n} == {("elsewhere", "PENDING"): 1}
        async with shelf.store.transaction() as tx:
            [item] = (await tx.read(ById([job.id]), NOTHING)).held
        assert edit.body is not None
        assert (item.job.priority, item.job.max_attempts, item.job.payload_ref) == (3, 9, edit.body.ref)
        await settle(shelf, EditJob(job_id=job.id, run_at=item.job.run_at + timedelta(hours=1)))
        assert await claimed(shelf.store, queue="elsewhere") == []

    async def test_an_archived_job_has_no_row_and_is_not_counted(self, shelf: Shelf) -> None:
        job = await create(shelf.ledger)
        await settle(shelf, CancelJob(job_id=job.id))
        [archived, retried] = await settle(shelf, ArchiveJob(job.id, timedelta()), RetryJob(job_id=job.id))
        assert archived.position == 3
        assert retried.decision == Rejected("job_not_found", REFUSALS["job_not_found"])
        assert {key: n for key, n in (await shelf.counts()).items() if n} == {}
        async with shelf.store.transaction() as tx:
            assert (await tx.read(ById([job.id]), NOTHING)).held == []

    async def test_the_id_of_an_archived_job_is_not_taken_again(self, shelf: Shelf) -> None:
        job = await create(shelf.ledger)
        await settle(shelf, CancelJob(job_id=job.id))
        again, other = CreateJob(job_id=job.id, kind=KIND), CreateJob(job_id=JobId(new_id()), kind=KIND)
        [_, at_once] = await settle(shelf, ArchiveJob(job.id, timedelta()), again)
        [later, beside] = await settle(shelf, again, other)
        assert at_once.decision == later.decision == Rejected("job_archived", REFUSALS["job_archived"])
        assert beside.position is not None

    async def test_a_claim_of_several_kinds_takes_in_one_order(self, shelf: Shelf) -> None:
        kinds = [KIND, "test.other", "test.third"]
        low, high, higher = [(await create(shelf.ledger, kind=kinds[n % 3], priority=n)).id for n in (1, 5, 6)]
        await create(shelf.ledger, kind="test.unwanted", priority=9)
        oldest = (await create(shelf.ledger, kind="test.other", priority=5)).id
        await shelf.move(oldest, "run_at", -timedelta(seconds=5))
        assert await claimed(shelf.store, kinds=kinds) == [higher, oldest, high, low]
        assert await claimed(shelf.store, kinds=kinds[:2]) == [higher, oldest, low]
        assert await claimed(shelf.store, kinds=["test.nobody"]) == []

    async def test_a_claim_holds_no_job_that_it_does_not_take(self, shelf: Shelf) -> None:
        kinds = [KIND, "test.other"]
        ids = [(await create(shelf.ledger, kind=kinds[n % 2])).id for n in range(6)]
        async with shelf.store.transaction() as tx:
            taken = (await tx.read(Claimable("default", kinds, 3), NOTHING)).held
            assert await claimed(shelf.store, kinds=kinds) == ids[3:]
        assert [item.job.id for item in taken] == ids[:3]

    async def test_a_claim_brings_the_payload(self, shelf: Shelf) -> None:
        await create(shelf.ledger, payload={"n": 1})
        async with shelf.store.transaction() as tx:
            [item] = (await tx.read(Claimable("default", [KIND], 10), NOTHING)).held
        assert (item.payload, item.payload_bytes) == (b'{"n":1}', 7)

    async def test_a_claim_tells_only_the_size_of_a_large_payload(self, shelf: Shelf) -> None:
        await create(shelf.ledger, payload={"n": "x" * 4096})
        async with shelf.store.transaction() as tx:
            [item] = (await tx.read(Claimable("default", [KIND], 10), NOTHING)).held
        assert (item.payload, item.payload_bytes) == (None, 4104)

    async def test_a_repeated_command_finds_its_outcome(self, shelf: Shelf) -> None:
        wish = command(creation())
        [first] = await shelf.ledger.settle([wish])
        again = Wish(wish.command, wish.cause, delivered=wish.delivered)
        [second] = await shelf.ledger.settle([again])
        assert second.event is None
        assert getattr(second.decision, "position", None) == first.position
        assert await shelf.positions() == [1]

    async def test_of_two_writers_of_one_command_the_second_fails(self, shelf: Shelf) -> None:
        """Whoever decided without having seen the outcome must not commit."""
        wish = command(creation())
        other = Wish(creation(), wish.cause, delivered=wish.delivered)
        before = await create(shelf.ledger)

        async def both() -> None:
            async with shelf.store.transaction() as tx:
                changes = await decide(tx, ById([other.command.job_id]), other)
                await shelf.ledger.settle([wish])
                await tx.write(changes)

        with pytest.raises(UniqueViolation):
            await both()
        assert await shelf.positions() == [1, 2]
        assert (await settle(shelf, CancelJob(job_id=before.id)))[0].position == 3

    async def test_a_write_that_fails_undoes_the_keys_it_had_freed(self, shelf: Shelf) -> None:
        holder = await create(shelf.ledger, unique_key="key")
        wish = command(creation(unique_key="key"))

        async def freed_and_taken() -> None:
            async with shelf.store.transaction() as tx:
                found = await tx.read(ById([holder.id, wish.command.job_id]), NOTHING)
                batch = Batch(found.now, {}, {}, {item.job.id: item for item in found.held})
                batch.settle(command(CancelJob(job_id=holder.id)))
                batch.settle(wish)
                await shelf.ledger.settle([Wish(creation(), wish.cause, delivered=wish.delivered)])
                await tx.write(batch.changes(batch.events))

        with pytest.raises(UniqueViolation):
            await freed_and_taken()
        assert await shelf.status(holder.id) == "PENDING"
        assert await shelf.positions() == [1, 2]

    async def test_events_are_written_without_reading(self, shelf: Shelf) -> None:
        """As the ledger does that sums up refusals."""
        wish = command(creation())
        now = (await create(shelf.ledger)).created_at
        events = [refusal(wish, "job_not_found", at=now, count=21) for _ in range(2)]
        async with shelf.store.transaction() as tx:
            await tx.write(Changes(now, events))
        assert (tx.head, await shelf.positions()) == (3, [1, 2, 3])

        async def fail() -> None:
            async with shelf.store.transaction() as tx:
                await tx.write(Changes(now, events))
                raise ValueError("after the write")

        with pytest.raises(ValueError, match="after the write"):
            await fail()
        assert await shelf.positions() == [1, 2, 3]

    async def test_nothing_to_write_is_written(self, shelf: Shelf) -> None:
        job = await create(shelf.ledger)
        async with shelf.store.transaction() as tx:
            found = await tx.read(ById([job.id]), NOTHING)
            await tx.write(Changes(found.now))
        assert (tx.head, await shelf.positions()) == (None, [1])

    async def test_a_refusal_without_an_event_remembers_its_outcome(self, shelf: Shelf) -> None:
        holder = await create(shelf.ledger, unique_key="key")
        wish = command(creation(unique_key="key"))
        for _ in range(2):
            again = Wish(wish.command, wish.cause, delivered=wish.delivered)
            [settled] = await shelf.ledger.settle([again])
            assert getattr(settled.decision, "job_id", None) == holder.id
        assert await shelf.positions() == [1]

    async def test_the_same_job_is_created_once(self, shelf: Shelf) -> None:
        job_id = JobId(new_id())
        both = await asyncio.gather(*(settle(shelf, creation(job_id=job_id)) for _ in range(2)))
        assert sorted(one.event is not None for [one] in both) == [False, True]
        assert await shelf.counts() == {("default", "PENDING"): 1}

    async def test_whoever_may_take_a_key_waits_for_whoever_may_take_it_too(self, shelf: Shelf) -> None:
        wish = command(creation(unique_key="key"))
        async with shelf.store.transaction() as tx:
            changes = await decide(tx, ById([wish.command.job_id]), wish)
            later = await soon(settle(shelf, creation(unique_key="key")))
            assert not later.done()
            await tx.write(changes)
        [settled] = await later
        assert getattr(settled.decision, "job_id", None) == wish.command.job_id

    async def test_a_key_is_held_by_one_job_even_if_nobody_locked_it(self, shelf: Shelf) -> None:
        """The index is the last word: a retry that was not announced finds the key taken."""
        first = await failed(shelf.ledger, unique_key="key")
        await create(shelf.ledger, unique_key="key")

        async def retry() -> None:
            async with shelf.store.transaction() as tx:
                await tx.write(await decide(tx, ById([first.id]), command(RetryJob(job_id=first.id))))

        with pytest.raises(UniqueViolation):
            await retry()
        assert await shelf.status(first.id) == "FAILED"

    async def test_a_finished_job_has_given_up_its_key(self, shelf: Shelf) -> None:
        first = await create(shelf.ledger, unique_key="key")
        await settle(shelf, CancelJob(job_id=first.id))
        second = await create(shelf.ledger, unique_key="key")
        [retried] = await settle(shelf, RetryJob(job_id=first.id))
        assert retried.event is None
        assert second.id != first.id

    async def test_a_key_changes_hands_within_one_transaction(self, shelf: Shelf) -> None:
        first = await create(shelf.ledger, unique_key="key")
        wanted = creation(unique_key="key")
        settled = await settle(shelf, CancelJob(job_id=first.id), wanted)
        assert all(one.event is not None for one in settled)
        assert await shelf.counts() == {("default", "CANCELLED"): 1, ("default", "PENDING"): 1}
        async with shelf.store.transaction() as tx:
            found = await tx.read(ById([]), Known(unique_keys=[(KIND, "key"), (KIND, "free")]))
        assert found.holders == {(KIND, "key"): wanted.job_id}

    async def test_the_key_of_a_job_to_retry_is_looked_up(self, shelf: Shelf) -> None:
        first = await failed(shelf.ledger, unique_key="key")
        second = await create(shelf.ledger, unique_key="key")
        async with shelf.store.transaction() as tx:
            found = await tx.read(ById([first.id]), Known(retried=[first.id]))
        assert found.holders == {(KIND, "key"): second.id}

    async def test_a_halted_journal_takes_nothing(self, shelf: Shelf) -> None:
        job = await create(shelf.ledger)
        await shelf.halt("the bus is ahead")
        with pytest.raises(Unavailable):
            await settle(shelf, CancelJob(job_id=job.id), creation())
        assert await shelf.status(job.id) == "PENDING"
        assert await shelf.counts() == {("default", "PENDING"): 1}
        await shelf.halt(None)
        assert (await settle(shelf, CancelJob(job_id=job.id)))[0].position == 2

    async def test_a_halted_journal_answers_nothing_either(self, shelf: Shelf) -> None:
        await create(shelf.ledger, unique_key="key")
        await shelf.halt("the bus is ahead")
        with pytest.raises(Unavailable):
            await settle(shelf, creation(unique_key="key"))

    async def test_a_halted_journal_takes_nothing_even_where_a_key_changes_hands(self, shelf: Shelf) -> None:
        job = await create(shelf.ledger, unique_key="key")
        await shelf.halt("the bus is ahead")
        with pytest.raises(Unavailable):
            await settle(shelf, CancelJob(job_id=job.id), creation(unique_key="key"))
        assert await shelf.status(job.id) == "PENDING"

    async def test_a_run_has_a_lease_until_it_ends(self, shelf: Shelf) -> None:
        job = await create(shelf.ledger)
        running = await start(shelf.ledger, job.id, lease_ms=5000)
        async with shelf.store.transaction() as tx:
            [item] = (await tx.read(ById([job.id]), NOTHING)).held
        assert item.lease_until is not None
        assert running.started_at is not None
        assert item.lease_until - running.started_at == timedelta(seconds=5)
        assert await claimed(shelf.store) == []
        await settle(shelf, CompleteJob(job.id, running.token or ""))
        async with shelf.store.transaction() as tx:
            [item] = (await tx.read(ById([job.id]), NOTHING)).held
        assert item.lease_until is None
        assert await shelf.counts() == {("default", "COMPLETED"): 1}

    async def test_a_lease_that_ran_out_is_due(self, shelf: Shelf) -> None:
        jobs = [await create(shelf.ledger) for _ in range(2)]
        for job in jobs:
            await start(shelf.ledger, job.id)
        assert await overdue(shelf.store, Due.EXPIRED) == []
        await shelf.move(jobs[0].id, "lease_until", -timedelta(hours=1))
        await shelf.move(jobs[1].id, "lease_until", -timedelta(hours=1))
        async with holding(shelf.store, jobs[0].id):
            assert await overdue(shelf.store, Due.EXPIRED) == [jobs[1].id]
        assert await overdue(shelf.store, Due.EXPIRED) == [job.id for job in jobs]

    async def test_a_run_beyond_its_time_is_due(self, shelf: Shelf) -> None:
        limited, endless = await create(shelf.ledger, timeout_ms=60_000), await create(shelf.ledger)
        for job in (limited, endless):
            await start(shelf.ledger, job.id)
            await shelf.move(job.id, "started_at", -timedelta(seconds=50))
        assert await overdue(shelf.store, Due.OVERDUE) == []
        await shelf.move(limited.id, "started_at", -timedelta(seconds=20))
        await shelf.move(endless.id, "started_at", -timedelta(seconds=20))
        assert await overdue(shelf.store, Due.OVERDUE) == [limited.id]

    async def test_a_cancelled_run_is_due_after_a_lease(self, shelf: Shelf) -> None:
        job = await create(shelf.ledger)
        await start(shelf.ledger, job.id, lease_ms=60_000)
        await settle(shelf, CancelJob(job_id=job.id))
        assert await overdue(shelf.store, Due.UNSETTLED) == []
        await shelf.move(job.id, "finished_at", -timedelta(seconds=61))
        assert await overdue(shelf.store, Due.UNSETTLED) == [job.id]

    async def test_a_report_of_a_run_that_is_over_is_fenced(self, shelf: Shelf) -> None:
        job = await create(shelf.ledger)
        first = await start(shelf.ledger, job.id)
        await settle(shelf, FailJob(job.id, first.token or "", ErrorFact(type="Broken", fingerprint="f" * 16)))
        await shelf.move(job.id, "run_at", -timedelta(hours=1))
        second = await start(shelf.ledger, job.id)
        late, right = await settle(
            shelf, CompleteJob(job.id, first.token or ""), CompleteJob(job.id, second.token or "")
        )
        assert isinstance(late.decision, LeaseLost)
        assert right.event is not None
