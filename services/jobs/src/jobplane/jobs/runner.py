"""The runner: carries operations out chunk by chunk; replicas share them, one chunk is done by one of them."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any, Final

import structlog
from psycopg import AsyncConnection

from jobplane.chassis import metrics
from jobplane.chassis.journal import Journal
from jobplane.contracts.operations import BulkAction
from jobplane.jobs.bulk import Finish
from jobplane.jobs.bulk_actions import ACTIONS
from jobplane.jobs.chunks import Carried, carry_out_next
from jobplane.jobs.operations import Operations

log = structlog.get_logger()

EVERY_S: Final = 1.0
_SOONEST_S: Final = 0.02
_IN_A_ROW: Final = 8
"""So many chunks of one operation are done before it is another's turn."""
_DUE: Final = """
SELECT id, action, next_chunk >= chunks, rate IS NOT NULL FROM operation
WHERE status = 'running' AND (next_at IS NULL OR next_at <= clock_timestamp()) ORDER BY id
"""
_NEXT_DUE: Final = """
SELECT extract(epoch FROM min(next_at) - clock_timestamp())::float8 FROM operation WHERE status = 'running'
"""


async def gather_turns(turns: Iterable[Awaitable[int]]) -> list[int | Exception]:
    """One after the other; what one meets does not stop the others."""
    found: list[int | Exception] = []
    for turn in turns:
        try:
            found.append(await turn)
        except Exception as error:  # noqa: BLE001 - the caller raises it
            found.append(error)
    return found


class Runner:
    """`carried` hears of each chunk; `again(seconds)` asks for a look before the next regular one."""

    def __init__(
        self,
        journal: Journal,
        operations: Operations,
        carried: Callable[[Carried], None] = lambda _: None,
        again: Callable[[float], None] = lambda _: None,
    ) -> None:
        self._journal = journal
        self._operations = operations
        self._carried = carried
        self._again = again
        self.busy = False
        """It carries something out: what is less urgent may wait."""

    async def run_once(self) -> int:
        """Do all that may be done now; gives how many jobs were looked at."""
        try:
            async with self._journal.pool.connection() as conn:
                return await self._run(conn)
        finally:
            self.busy = False

    async def _run(self, conn: AsyncConnection[Any]) -> int:
        looked_at = 0
        while True:
            due = await (await conn.execute(_DUE)).fetchall()
            self.busy = bool(due)
            turns = await gather_turns(self._turn(conn, *row) for row in due)
            looked_at += sum(turn for turn in turns if isinstance(turn, int))
            if failures := [turn for turn in turns if isinstance(turn, Exception)]:
                raise failures[0]
            if not any(turns):
                break
        await self._look_again(conn)
        return looked_at

    async def _turn(
        self,
        conn: AsyncConnection[Any],
        operation_id: str,
        action: str,
        over: bool,  # noqa: FBT001 - a column
        slow: bool,  # noqa: FBT001 - a column
    ) -> int:
        """Go on with one operation; gives how many jobs it looked at."""
        if over:
            await self._finish(operation_id)
            return 0
        looked_at = 0
        for _ in range(1 if slow else _IN_A_ROW):
            carried = await carry_out_next(self._journal, operation_id, BulkAction(action), conn)
            if carried is None or not carried.looked_at:
                break
            looked_at += carried.looked_at
            metrics.counter("jobplane_events_total").labels("jobs", ACTIONS[BulkAction(action)].event).inc(
                carried.changed
            )
            self._carried(carried)
        return looked_at

    async def _finish(self, operation_id: str) -> None:
        async with self._journal.transaction() as tx:
            evolved = await self._operations.proceed(tx, operation_id, Finish())
        if evolved is not None:
            log.info("operation.done", operation_id=operation_id, done=evolved.done, skipped=dict(evolved.codes))

    async def _look_again(self, conn: AsyncConnection[Any]) -> None:
        """A rate makes an operation wait; look again when it may go on."""
        row = await (await conn.execute(_NEXT_DUE)).fetchone()
        if row is not None and row[0] is not None:
            self._again(max(_SOONEST_S, min(EVERY_S, row[0])))
