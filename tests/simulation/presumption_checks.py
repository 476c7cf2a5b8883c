"""What every store must do for a batch that presumes that all of it is new."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

from jobplane.chassis.ids import new_id
from jobplane.jobs.decider import Rejected
from jobplane.jobs.outcomes import Stored
from jobplane.jobs.store import Found, Known, Selection, Writing
from tests.integration.jobs.wishing import command, create, creation
from tests.simulation.shelf import Shelf, settle


class PresumptionChecks:
    """The conformance suite of `Writing.presume`."""

    async def test_new_jobs_are_written_without_a_look(self, shelf: Shelf) -> None:
        before = (await create(shelf.ledger)).created_at  # the store knows what time it is from now on
        looks: list[Selection] = []
        transaction = shelf.store.transaction

        @asynccontextmanager
        async def watched() -> AsyncIterator[Writing]:
            async with transaction() as tx:
                read = tx.read

                async def look(selection: Selection, known: Known) -> Found:
                    looks.append(selection)
                    return await read(selection, known)

                tx.read = look  # type: ignore[method-assign]
                yield tx

        shelf.store.transaction = watched  # type: ignore[method-assign]
        first, second = await settle(shelf, creation(), creation())
        assert not looks
        assert (first.position, second.position) == (2, 3)
        assert first.at >= before - timedelta(seconds=1)
        await settle(shelf, creation(unique_key="u"))
        assert len(looks) == 1

    async def test_a_creation_that_comes_again_finds_its_outcome(self, shelf: Shelf) -> None:
        known, fresh = command(creation()), command(creation())
        await shelf.ledger.settle([command(creation())])
        [first] = await shelf.ledger.settle([known])
        again = replace(known, event_id=new_id())
        told, new, inside = await shelf.ledger.settle([again, fresh, replace(fresh, event_id=new_id())])
        assert isinstance(told.decision, Stored)
        assert told.decision.position == first.position == 2
        assert new.position == 3
        assert isinstance(inside.decision, Stored)
        assert inside.decision.position == 3
        taken = command(creation(job_id=known.command.job_id))
        [refused] = await shelf.ledger.settle([taken])
        assert isinstance(refused.decision, Rejected)
        assert await shelf.positions() == [1, 2, 3, 4]
