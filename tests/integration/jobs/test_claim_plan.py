"""A claim reads what it takes, also on a table that grew since PostgreSQL last looked at it."""

import psycopg

from jobplane.jobs import postgres_store
from jobplane.jobs.ledger import Ledger
from tests.integration.jobs import wishing
from tests.integration.jobs.wishing import command
from tests.support.servers import Database

_READY = 2000
_TAKEN = 10


async def test_a_claim_follows_the_index_of_what_is_ready(ledger: Ledger, database: Database) -> None:
    for _ in range(_READY // 500):
        await ledger.settle([command(wishing.creation(queue="crowded", payload={"n": 1})) for _ in range(500)])
    with psycopg.connect(database.url("jobs"), options="-c search_path=jobs") as conn:
        conn.execute(postgres_store.BY_INDEX)
        explain = f"EXPLAIN (ANALYZE, TIMING OFF) {postgres_store.CLAIM}"
        found = conn.execute(explain, ("crowded", "{test.echo}", _TAKEN)).fetchall()
    plan = "\n".join(row[0] for row in found)
    assert "Index Scan using job_ready on job" in plan, plan
    assert "Sort" not in plan, plan
    assert f"rows={_TAKEN}.00" in plan, plan
