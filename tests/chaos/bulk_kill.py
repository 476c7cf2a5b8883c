"""kill -9 in the middle of a bulk operation on 20,000 jobs: the end is the same as without it."""

import asyncio
from collections.abc import Iterator
from functools import partial

import httpx2
import pytest

from jobplane.worker.producer import EnqueuedJob, NewJob, Producer
from tests.support import invariants
from tests.support.platform import Platform
from tests.support.waiting import eventually_sync

pytestmark = [pytest.mark.system, pytest.mark.timeout(240)]

JOBS = 20_000
KILL_AT = (2_000, 8_000, 14_000)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform without workers."""
    whole = Platform(tmp_path_factory.mktemp("bulk"), options=("--workers", "0"))
    try:
        whole.start()
        yield whole
    finally:
        whole.stop()


async def _create(platform: Platform) -> None:
    async with Producer.connect(platform.producer_url) as producer:
        made = await producer.enqueue_many([NewJob(kind="test.never")] * JOBS, timeout_s=60)
    assert all(isinstance(job, EnqueuedJob) for job in made)


def _reached(platform: Platform, operation: str, least: int) -> bool:
    return _done(platform, operation) >= least


def _done(platform: Platform, operation: str) -> int:
    with invariants.connect(platform) as conn:
        row = conn.execute("SELECT done FROM jobs.operation WHERE id = %s", (operation,)).fetchone()
    assert row is not None
    done: int = row[0]
    return done


def _ended(client: httpx2.Client, operation: str) -> bool:
    answer = client.get(f"/operations/{operation}")
    return answer.status_code == 200 and answer.json()["status"] == "done"


def test_nothing_is_done_twice_and_nothing_is_left_out(platform: Platform) -> None:
    asyncio.run(_create(platform))
    with platform.client() as client:
        body = {"action": "cancel", "filter": "kind:test.never", "reason": "a test", "rate": 8000}
        begun = client.post("/jobs/bulk", json=body)
        assert begun.status_code == 202, begun.text
        operation = begun.json()["id"]
        for reached in KILL_AT:
            eventually_sync(partial(_reached, platform, operation, reached), timeout=60)
            assert _done(platform, operation) < JOBS
            platform.kill("jobs")
        eventually_sync(lambda: _ended(client, operation), timeout=60)
        shown = client.get(f"/operations/{operation}").json()
    assert (shown["total"], shown["done"], shown["skipped"]) == (JOBS, JOBS, 0)
    with invariants.connect(platform) as conn:
        query = "SELECT status, version, cardinality(bulk_positions), count(*) FROM jobs.job GROUP BY 1, 2, 3"
        assert conn.execute(query).fetchall() == [("CANCELLED", 2, 1, JOBS)]
    eventually_sync(lambda: invariants.settled(platform), timeout=60)
    invariants.check(platform)
    verified = platform.command("verify")
    assert verified.returncode == 0, verified.stdout
