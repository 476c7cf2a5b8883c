"""Several prepared statements in one round trip to PostgreSQL, for the few writers whose rate and latency decide ours.

The driver's own pipeline sends each statement by itself and looks for answers in between: a transaction of four
statements costs twenty system calls and a millisecond of CPU. Here it is one write and one read per round trip.
"""

from collections.abc import Generator, Iterable, Sequence
from functools import cache
from itertools import count
from typing import Any, Final
from weakref import WeakKeyDictionary

import psycopg
from psycopg import AsyncConnection, errors
from psycopg.adapt import Transformer
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.waiting import Ready, Wait

Parameter = str | int | None
Statement = tuple[str, Sequence[Parameter]]
"""Text with ``%s`` for each parameter (and no other per cent sign), and the parameters, cast in the text."""
Rows = list[tuple[Any, ...]]

_MOST_PREPARED: Final = 200
_PLAN_CHECK: Final = "RevalidateCachedQuery"
"""Where PostgreSQL says that a cached plan must not change its result type; others have the same code."""
_numbers: Final = count(1)
"""Of prepared statements: none is used twice, for one that failed may have left others of its round trip behind."""
_prepared: WeakKeyDictionary[AsyncConnection[Any], dict[str, bytes]] = WeakKeyDictionary()


class StaleStatement(errors.SerializationFailure):
    """A prepared statement is not what it was; the transaction succeeds when it is repeated from its beginning."""


async def exchange(conn: AsyncConnection[Any], *statements: Statement) -> list[Rows]:
    """Run the statements in order, in one round trip; gives the rows of each.

    The first that fails raises its error, and the ones behind it are not run; a transaction stays open and failed. A
    connection that was interrupted is closed, because nobody knows what was run. COMMIT may only be the last of them:
    where they begin a transaction and a prepared one is stale, all of them are run again.

    Raises:
        StaleStatement: somebody changed a table, or the connection's session, in the middle of a transaction.
    """
    begins = conn.pgconn.transaction_status == TransactionStatus.IDLE
    try:
        return await _exchange(conn, statements)
    except (errors.FeatureNotSupported, errors.InvalidSqlStatementName) as error:
        if not _is_stale(error):
            raise
        _prepared.pop(conn, None)
        if not begins:
            raise StaleStatement(str(error)) from error
    await rollback(conn)
    return await _exchange(conn, statements)


async def rollback(conn: AsyncConnection[Any]) -> None:
    """End a transaction that is open or failed; one that cannot be ended takes its connection along."""
    if conn.closed or conn.pgconn.transaction_status == TransactionStatus.IDLE:
        return
    try:
        await exchange(conn, ("ROLLBACK", ()))
    except psycopg.Error:
        await conn.close()


async def _exchange(conn: AsyncConnection[Any], statements: Sequence[Statement]) -> list[Rows]:
    names = _prepared.setdefault(conn, {})
    new = [text for text in dict.fromkeys(text for text, _ in statements) if text not in names]
    fresh = {text: f"jp_{next(_numbers)}".encode() for text in new}
    if len(names) + len(fresh) > _MOST_PREPARED:
        fresh = {}
    known = names | fresh
    pgconn = conn.pgconn
    try:
        pgconn.enter_pipeline_mode()
        results = await conn.wait(_run(pgconn, statements, known, fresh))
        pgconn.exit_pipeline_mode()
    except BaseException:
        await conn.close()
        raise
    names.update(zip(fresh, fresh.values(), strict=True) if _all_done(results[: len(fresh)]) else ())
    _raise_first(results)
    return [_rows(conn, result) for result in results[len(fresh) :]]


def _run(
    pgconn: PGconn, statements: Sequence[Statement], known: dict[str, bytes], fresh: dict[str, bytes]
) -> Generator[Wait, Ready | int, list[PGresult]]:
    """Send everything, then collect one result for each preparation and each statement."""
    for text, name in fresh.items():
        pgconn.send_prepare(name, _numbered(text))
    for text, parameters in statements:
        if text in known:
            pgconn.send_query_prepared(known[text], _encoded(parameters))
        else:
            pgconn.send_query_params(_numbered(text), _encoded(parameters))
    pgconn.pipeline_sync()
    while pgconn.flush():
        if (yield Wait.RW) & Ready.R:
            pgconn.consume_input()
    results: list[PGresult] = []
    while (result := (yield from _next_result(pgconn))).status != ExecStatus.PIPELINE_SYNC:
        results.append(result)
    return results


def _next_result(pgconn: PGconn) -> Generator[Wait, Ready | int, PGresult]:
    while True:
        while pgconn.is_busy():
            if (yield Wait.R):
                pgconn.consume_input()
        result = pgconn.get_result()
        if result is not None:
            return result
        if pgconn.status == ConnStatus.BAD:  # otherwise: the end of one statement
            raise errors.OperationalError("the connection is lost")


@cache
def _numbered(text: str) -> bytes:
    """The text with ``$1``, ``$2`` … for its parameters."""
    first, *others = text.split("%s")
    return (first + "".join(f"${number}{part}" for number, part in enumerate(others, start=1))).encode()


def _encoded(parameters: Iterable[Parameter]) -> list[bytes | None]:
    values = [None if value is None else str(value).encode() for value in parameters]
    if any(b"\0" in value for value in values if value):
        raise errors.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")
    return values


def _all_done(results: Sequence[PGresult]) -> bool:
    return all(result.status == ExecStatus.COMMAND_OK for result in results)


def _raise_first(results: Sequence[PGresult]) -> None:
    for result in results:
        if result.status == ExecStatus.FATAL_ERROR:
            raise errors.error_from_result(result)


def _is_stale(error: psycopg.Error) -> bool:
    """Whether the result of a prepared statement has another type now, or it is gone: by DISCARD ALL, say."""
    return isinstance(error, errors.InvalidSqlStatementName) or error.diag.source_function == _PLAN_CHECK


def _rows(conn: AsyncConnection[Any], result: PGresult) -> Rows:
    if result.status != ExecStatus.TUPLES_OK:
        return []
    transformer = Transformer(conn)
    transformer.set_pgresult(result)
    return transformer.load_rows(0, result.ntuples, tuple)
