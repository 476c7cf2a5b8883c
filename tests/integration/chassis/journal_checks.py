"""What every journal must do, whatever keeps it; `journal` comes from the module that uses the checks."""

import asyncio

import pytest

from jobplane.chassis.ids import new_id
from jobplane.chassis.journal import Journal, LockOrder
from jobplane.contracts.errors import Unavailable
from tests.integration.chassis.writing import append, assert_gapless, event, everything


async def fail(journal: Journal) -> None:
    """A transaction that appends and then fails."""
    async with journal.transaction() as tx:
        await tx.append([event(), event()])
        raise ValueError("after the append")


async def lock(journal: Journal, *order: LockOrder) -> None:
    """A transaction that announces these locks, and then appends."""
    async with journal.transaction() as tx:
        for what in order:
            tx.locking(what)
        await tx.append([event()])


class JournalChecks:
    """The conformance suite."""

    async def test_an_empty_journal_stands_at_nothing(self, journal: Journal) -> None:
        figures = await journal.figures()
        assert (figures.position, figures.epoch, figures.halted) == (0, 1, None)
        assert await journal.after(0, 10) == []
        assert await journal.event_id_at(1) is None

    async def test_positions_are_given_in_order_of_commit(self, journal: Journal) -> None:
        assert await append(journal, event(), event(), event()) == 1
        assert await append(journal, event()) == 4
        await assert_gapless(journal)

    async def test_events_are_kept_byte_for_byte(self, journal: Journal) -> None:
        written = event(text='späß "quoted"', spaces="  ")
        await append(journal, written)
        [read] = await journal.after(0, 10)
        for name in ("stream_id", "version", "type", "id", "data", "actor", "correlation_id", "traceparent", "reason"):
            assert getattr(read, name) == getattr(written, name)
        assert await journal.event_id_at(1) == written.id

    async def test_events_are_read_in_pages(self, journal: Journal) -> None:
        written = [event() for _ in range(7)]
        await append(journal, *written)
        first = await journal.after(0, 3)
        rest = await journal.after(first[-1].position, 100)
        assert [one.id for one in first + rest] == [one.id for one in written]

    async def test_nothing_to_append_changes_nothing(self, journal: Journal) -> None:
        assert await append(journal) == 0
        assert (await journal.figures()).position == 0

    async def test_a_rollback_gives_its_positions_back(self, journal: Journal) -> None:
        with pytest.raises(ValueError, match="after the append"):
            await fail(journal)
        assert await everything(journal) == []
        assert await append(journal, event()) == 1

    async def test_a_version_of_a_stream_is_written_once(self, journal: Journal) -> None:
        stream = new_id()
        await append(journal, event(stream, 1), event(stream, 2))
        with pytest.raises(Exception, match="stream_id"):
            await append(journal, event(), event(stream, 2))
        assert await append(journal, event(stream, 3)) == 3
        await assert_gapless(journal)

    async def test_of_two_writers_of_one_version_one_succeeds(self, journal: Journal) -> None:
        stream = new_id()
        attempts = [append(journal, event(), event(stream, 1)) for _ in range(4)]
        answers = await asyncio.gather(*attempts, return_exceptions=True)
        assert [answer for answer in answers if not isinstance(answer, Exception)] == [1]
        await assert_gapless(journal)

    async def test_many_writers_at_once_leave_no_gap(self, journal: Journal) -> None:
        events = [[event() for _ in range(1 + n % 3)] for n in range(24)]
        firsts = await asyncio.gather(*(append(journal, *some) for some in events))
        found = await everything(journal)
        for first, some in zip(firsts, events, strict=True):
            assert [one.id for one in found[first - 1 : first - 1 + len(some)]] == [one.id for one in some]
        await assert_gapless(journal)

    async def test_a_halted_journal_takes_nothing_and_is_read_as_before(self, journal: Journal) -> None:
        await append(journal, event())
        await journal.halt("two histories", 1)
        await journal.halt("the first reason stays", 1)
        with pytest.raises(Unavailable) as refused:
            await append(journal, event())
        assert refused.value.code == "journal_diverged"
        assert (await journal.figures()).halted == "two histories"
        await assert_gapless(journal)
        assert len(await everything(journal)) == 1

    async def test_each_commit_is_announced_and_nothing_else(self, journal: Journal) -> None:
        announced = 0

        def announce() -> None:
            nonlocal announced
            announced += 1

        journal.on_append = announce
        await append(journal, event(), event())
        assert announced == 1
        await append(journal)
        with pytest.raises(ValueError, match="after the append"):
            await fail(journal)
        assert announced == 1

    async def test_locks_are_taken_in_one_order(self, journal: Journal) -> None:
        await lock(journal, LockOrder.UNIQUE_KEYS, LockOrder.ROWS, LockOrder.ROWS)
        with pytest.raises(RuntimeError, match="QUEUES after ROWS"):
            await lock(journal, LockOrder.ROWS, LockOrder.QUEUES)
        await assert_gapless(journal)
        assert (await journal.figures()).position == 1
