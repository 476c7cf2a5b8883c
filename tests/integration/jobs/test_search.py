"""The search finds exactly what a plain predicate finds, whatever the jobs went through."""

import pytest
import pytest_asyncio
from psycopg_pool import AsyncConnectionPool

from jobplane.chassis import clock
from jobplane.chassis.journal import Journal
from jobplane.contracts.search_grammar import parse
from jobplane.jobs.ledger import Ledger
from jobplane.jobs.postgres_store import PostgresStore
from jobplane.jobs.redaction import DEFAULT_KEYS, Redaction
from jobplane.jobs.search_index import SearchIndex
from jobplane.jobs.search_sql import matching
from tests.integration.jobs import searching
from tests.integration.jobs.search_model import Known, matches
from tests.support.servers import Database

pytestmark = pytest.mark.asyncio(loop_scope="module")

REDACTION = Redaction.of(DEFAULT_KEYS.split(","))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def filled(pool: AsyncConnectionPool, database: Database) -> list[Known]:
    """Jobs of all sorts, newest first; all of them indexed."""
    ledger, index = Ledger(PostgresStore(Journal(pool))), SearchIndex(pool, REDACTION)
    ids = await searching.build(ledger, count=60, seed=4)
    await index.run_once()
    await searching.build(ledger, count=60, seed=5)
    assert ids
    await index.run_once()
    return await searching.known(pool, database)


@pytest.mark.parametrize("query", searching.QUERIES)
async def test_all_that_match_are_found(filled: list[Known], pool: AsyncConnectionPool, query: str) -> None:
    wanted = parse(query)
    now = clock.now()
    expected = {one.job.id for one in filled if matches(wanted, one, now)}
    found = matching(wanted, REDACTION)
    async with pool.connection() as conn:
        rows = await (await conn.execute(found.text, found.parameters)).fetchall()
    assert {row[0] for row in rows} == expected
    assert len(rows) == len(expected)
