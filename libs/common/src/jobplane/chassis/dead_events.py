"""Events that a projection cannot read: put into the dead-letter queue with the reason, and recorded as missing."""

from typing import Any, Final

import structlog
from nats.aio.client import Client
from nats.errors import Error as NatsError
from psycopg import AsyncConnection

from jobplane.chassis import burial, metrics
from jobplane.contracts.dead_letters import DEAD_POSITION, DEAD_REASON, DEAD_STREAM
from jobplane.contracts.errors import Unavailable
from jobplane.contracts.subjects import dead_letter

log = structlog.get_logger()

_MAX_REASON_CHARS: Final = 1000
_TIMEOUT_S: Final = 5
_INSERT: Final = "INSERT INTO dead_event (stream, position, reason) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"


class DeadEvents:
    """Buries the unreadable events of one stream, for one service; `bury` is what a `Projection` wants."""

    def __init__(self, nc: Client, service: str, stream: str) -> None:
        self._nc = nc
        self._service = service
        self._subject = dead_letter(service, stream)
        self._stream = stream

    async def bury(self, conn: AsyncConnection[Any], position: int, data: bytes, reason: str) -> None:
        """Put the event into the DLQ (after a crash perhaps twice), then record it in the caller's transaction.

        Raises:
            Unavailable: the DLQ does not take it; nothing may go on as if the event had been dealt with.
        """
        plain = burial.one_line(reason.encode("ascii", "replace").decode())[:_MAX_REASON_CHARS]
        headers = {
            DEAD_REASON: plain,
            DEAD_STREAM: self._stream,
            DEAD_POSITION: str(position),
        }
        try:
            answer = await self._nc.request(self._subject, data, headers=headers, timeout=_TIMEOUT_S)
        except (NatsError, TimeoutError) as error:
            raise Unavailable(f"the dead-letter queue does not answer: {type(error).__name__}") from error
        if b'"error"' in answer.data:
            raise Unavailable(f"the dead-letter queue refuses: {answer.data.decode(errors='replace')}")
        await conn.execute(_INSERT, (self._stream, position, plain))
        metrics.counter("jobplane_dead_letters_total").labels(self._service).inc()
        log.error("event.dead", stream=self._stream, position=position, reason=plain)


async def count(conn: AsyncConnection[Any]) -> int:
    """How many events are missing from this service's rows because they could not be read."""
    row = await (await conn.execute("SELECT count(*) FROM dead_event")).fetchone()
    return 0 if row is None else int(row[0])
