"""Dead events read once more: from their journal, and in one transaction with the record that they are missing."""

from collections.abc import Mapping
from typing import Any, Final

import structlog
from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import database, journal_pages, queries
from jobplane.chassis.bus import Connection
from jobplane.chassis.projection import Fold, checkpoint_name, event_at
from jobplane.chassis.queries import Broker
from jobplane.contracts.dead_letters import REPLAY_EVENT, DeadEventReplayed, OneDeadEvent
from jobplane.contracts.envelope import EventRecord
from jobplane.contracts.errors import InvalidMessage, Refused, Unavailable

log = structlog.get_logger()

_LONGEST_REASON: Final = 1000
# Both of one moment: the projection buries and moves its checkpoint in one transaction.
_STANDING: Final = """
SELECT EXISTS (SELECT FROM dead_event WHERE stream = %(stream)s AND position = %(position)s),
    coalesce((SELECT position FROM checkpoint WHERE name = %(name)s), 0)
"""
_REVIVE: Final = "DELETE FROM dead_event WHERE stream = %s AND position = %s"


class DeadEventReplay:
    """Reads dead events of a service anew; `folds` says, by stream, how the service makes its rows of them.

    The journal is asked, not the dead letter: what is damaged on the bus alone is read at once, what the service was
    too old for after its upgrade, and nobody can slip in an event by a letter.
    """

    def __init__(self, pool: AsyncConnectionPool, nc: Connection, service: str, folds: Mapping[str, Fold]) -> None:
        self._pool = pool
        self._nc = nc
        self._service = service
        self._folds = folds

    def answer(self, broker: Broker) -> None:
        """Answer the query; only the gateway may ask it."""
        queries.serve(broker, self._service, REPLAY_EVENT, OneDeadEvent, self.replay)

    async def replay(self, wanted: OneDeadEvent) -> DeadEventReplayed:
        """Make the rows that a dead event lacks. One that is not missing is left alone, so it is safe to repeat.

        Raises:
            Refused: `not_replayable`, `still_unreadable`, `replay_failed`; it stays dead.
            Unavailable: the owner of the journal, or a database, is away.
        """
        fold = self._folds.get(wanted.stream)
        if fold is None:
            raise self._not_replayable(wanted, f"The {self._service} service does not read {wanted.stream}.")
        if not await self._is_missing(wanted):
            return _told(wanted, missing=False)
        try:
            event = await self._event(wanted)
            missing = await self._revive(wanted, fold, event)
        except InvalidMessage as error:
            detail = f"The {self._service} service still cannot read it: replay it once the service has been mended."
            facts = {**_where(wanted), "reason": str(error)[:_LONGEST_REASON]}
            raise Refused("still_unreadable", detail, facts) from error
        except Exception as error:
            if isinstance(error, Refused | Unavailable) or database.temporary(error) or database.is_away(error):
                raise
            log.exception("event.replay_failed", **_where(wanted))
            detail = f"It failed and stays: the log of the {self._service} service says why."
            raise Refused("replay_failed", detail, {**_where(wanted), "error": type(error).__name__}) from error
        log.info("event.replayed", **_where(wanted), missing=missing)
        return _told(wanted, missing=missing)

    async def _is_missing(self, wanted: OneDeadEvent) -> bool:
        name = checkpoint_name(self._service, wanted.stream)
        async with self._pool.connection() as conn:
            row = await (await conn.execute(_STANDING, {**_where(wanted), "name": name})).fetchone()
        missing, reached = row or (False, 0)
        if not missing and wanted.position > reached:
            detail = (
                f"The {self._service} service is at {reached} and has not come to this event yet. When it does, it "
                "reads it, or another dead letter tells of it: discard this one."
            )
            raise self._not_replayable(wanted, detail, reached=reached)
        return bool(missing)

    async def _event(self, wanted: OneDeadEvent) -> EventRecord:
        message = await journal_pages.one(self._nc, wanted.stream, wanted.position)
        if message is None:
            detail = "The journal has no such event: it was removed as too old, or was only ever on the bus."
            raise self._not_replayable(wanted, detail)
        return event_at(*message)

    async def _revive(self, wanted: OneDeadEvent, fold: Fold, event: EventRecord) -> bool:
        async with self._pool.connection() as conn, conn.transaction():
            # Of several at once one deletes the row, the others wait for it and find none.
            if not (await conn.execute(_REVIVE, (wanted.stream, wanted.position))).rowcount:
                return False
            await fold(conn, [event])
        return True

    def _not_replayable(self, wanted: OneDeadEvent, detail: str, **facts: int) -> Refused:
        return Refused("not_replayable", detail, {**_where(wanted), **facts})


async def stays_dead(_conn: AsyncConnection[Any], _position: int, _data: bytes, reason: str) -> None:
    """What a fold does, in a replay, with an event that means nothing: all is as it was.

    Raises:
        InvalidMessage: always.
    """
    raise InvalidMessage(reason)


def _where(event: OneDeadEvent) -> dict[str, Any]:
    return {"stream": event.stream, "position": event.position}


def _told(event: OneDeadEvent, *, missing: bool) -> DeadEventReplayed:
    return DeadEventReplayed(stream=event.stream, position=event.position, missing=missing)
