"""Pages of a journal: what a stream no longer has, the owner of the journal answers."""

from collections.abc import Callable
from typing import Final

from jobplane.chassis import queries
from jobplane.chassis.bus import Connection
from jobplane.chassis.journal import Journal
from jobplane.chassis.queries import Broker
from jobplane.chassis.reader import Message
from jobplane.contracts import topology
from jobplane.contracts.envelope import EventRecord, event_headers
from jobplane.contracts.queries import JOURNAL_PAGE, JournalEvent, JournalPage, ReadJournal

PAGE_BYTES: Final = 640 * 1024
"""What the events of a page take at most, but for a single one that is larger; see `MAX_MESSAGE_BYTES`."""
MOST: Final = 500
"""Events of a page."""
_TIMEOUT_S: Final = 10.0


def serve(
    broker: Broker,
    stream: str,
    journal: Journal,
    *,
    source: str,
    subject_of: Callable[[EventRecord], str],
    relayed: Callable[[], int],
) -> None:
    """Answer with pages of the journal of a stream: events as its relay publishes them, from the same parts."""

    async def page(query: ReadJournal) -> JournalPage:
        """Events that the stream no longer has, oldest first."""
        records, figures, kept_from = await journal.page(query.after, query.limit)
        events: list[JournalEvent] = []
        room = PAGE_BYTES
        for record in records:
            event = JournalEvent(
                position=record.position,
                subject=subject_of(record),
                headers=event_headers(record, source),
                data=record.data.decode(),
            )
            room -= len(event.model_dump_json().encode())
            if room < 0 and events:
                break
            events.append(event)
        told = figures.model_copy(update={"relayed": relayed()})
        return JournalPage(events=events, figures=told, kept_from=kept_from)

    queries.serve(broker, topology.stream(stream).owner, JOURNAL_PAGE, ReadJournal, page)


async def ask(nc: Connection, stream: str, position: int, limit: int) -> JournalPage:
    """The page behind a position.

    Raises:
        Unavailable: the owner of the journal, or its database, is away.
    """
    query = ReadJournal(after=position, limit=min(limit, MOST))
    owner = topology.stream(stream).owner
    return await queries.ask(nc, owner, JOURNAL_PAGE, query, JournalPage, _TIMEOUT_S)


async def one(nc: Connection, stream: str, position: int) -> Message | None:
    """The event at a position, as a message of the stream; none if the journal has none there.

    Raises:
        Unavailable: the owner of the journal, or its database, is away.
    """
    events = (await ask(nc, stream, position - 1, 1)).events
    if not events or events[0].position != position:
        return None
    return position, events[0].headers, events[0].data.encode()


def between(page: JournalPage, position: int, first: int) -> list[Message]:
    """The page's events behind a position and before the first sequence of the stream, as messages of the stream.

    They end before a gap that no epoch explains.
    """
    messages: list[Message] = []
    for event in page.events:
        if event.position >= first or not is_next(page, position, event.position):
            break
        messages.append((event.position, event.headers, event.data.encode()))
        position = event.position
    return messages


def is_next(page: JournalPage, position: int, following: int) -> bool:
    """Whether no event ever was between these two positions, given that the journal has none there.

    They are neighbours, or an epoch began at the second. Where the last one began is known. An earlier one began where
    there is a gap, if older events are still there: pruning takes the oldest first.
    """
    figures = page.figures
    if following in {position + 1, figures.first}:
        return True
    return figures.epoch > 2 and 0 < page.kept_from <= position and following < figures.first  # noqa: PLR2004 - as said


def undecided(page: JournalPage, first: int) -> str | None:
    """Why it may still come to light what is before the first sequence of the stream; None if nothing can."""
    figures = page.figures
    if figures.halted is not None:
        return f"the journal is halted: {figures.halted}"
    if figures.first > first:
        return f"the stream is made anew: an epoch begins at {figures.first}"
    if figures.position < first - 1:
        return f"the journal ends at {figures.position}, the stream begins at {first}"
    return None
