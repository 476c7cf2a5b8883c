"""A claim looks at what it takes, also on a table that grew since PostgreSQL last looked at it."""

from collections.abc import Iterator, Sequence
from typing import Any

import psycopg
import pytest

from jobplane.chassis.exchange import Parameter
from jobplane.jobs import next_jobs
from jobplane.jobs.allowance import Permit
from jobplane.jobs.ledger import Ledger
from tests.integration.jobs import wishing
from tests.integration.jobs.driving import KIND
from tests.integration.jobs.wishing import command
from tests.support.servers import Database

_READY = 2000
_TAKEN = 10
_OTHERS = [f"{KIND}_{number}" for number in range(255)]


@pytest.fixture
async def crowded(ledger: Ledger, database: Database) -> Database:
    """Thousands of jobs of one kind wait in the queue `crowded`."""
    for _ in range(_READY // 500):
        await ledger.settle([command(wishing.creation(queue="crowded", payload={"n": 1})) for _ in range(500)])
    return database


def _scans(database: Database, statement: str, parameters: Sequence[Parameter]) -> list[dict[str, Any]]:
    """The nodes that read jobs."""
    with psycopg.connect(database.url("jobs"), options="-c search_path=jobs") as conn:
        conn.execute(next_jobs.BEFORE)
        row = conn.execute(f"EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) {statement}", parameters).fetchone()
    assert row is not None
    nodes = list(_below(row[0][0]["Plan"]))
    assert sum(_looked_at(node) for node in nodes if str(node["Node Type"]).endswith("Sort")) == 0, nodes
    return [node for node in nodes if node.get("Relation Name") == "job"]


def _below(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", ()):
        yield from _below(child)


def _looked_at(scan: dict[str, Any]) -> int:
    return int((scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)) * scan["Actual Loops"])


@pytest.mark.parametrize("kinds", [[KIND], [*_OTHERS[:2], KIND], [*_OTHERS, KIND]], ids=len)
async def test_a_claim_looks_at_the_jobs_it_takes(crowded: Database, kinds: list[str]) -> None:
    scans = _scans(crowded, *next_jobs.claim("crowded", kinds, _TAKEN))
    assert {scan["Index Name"] for scan in scans} == {"job_ready", "job_pkey"}, scans
    assert sum(map(_looked_at, scans)) <= 2 * _TAKEN + 1, scans  # in the order of their kind, and to lock them


@pytest.mark.parametrize("kinds", [_OTHERS[:1], _OTHERS[:2], _OTHERS], ids=len)
async def test_a_claim_in_vain_looks_at_no_job(crowded: Database, kinds: list[str]) -> None:
    assert sum(map(_looked_at, _scans(crowded, *next_jobs.claim("crowded", kinds, _TAKEN)))) == 0


async def test_a_claim_under_a_limit_looks_at_the_jobs_it_takes(crowded: Database) -> None:
    permit = Permit({KIND: _TAKEN, **dict.fromkeys(_OTHERS[:2], 3)}, [], _TAKEN)
    scans = _scans(crowded, *next_jobs.permitted("crowded", permit))
    assert sum(map(_looked_at, scans)) <= 2 * _TAKEN + 1, scans


async def test_a_claim_in_a_pause_looks_for_forced_jobs_only(crowded: Database) -> None:
    permit = Permit(dict.fromkeys([KIND, *_OTHERS[:2]], _TAKEN), [KIND, *_OTHERS[:2]], _TAKEN)
    assert sum(map(_looked_at, _scans(crowded, *next_jobs.permitted("crowded", permit)))) == 0
