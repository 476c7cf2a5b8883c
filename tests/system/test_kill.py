"""kill -9 under load, one process at a time: nothing accepted is lost, nothing is doubled, nobody is stuck."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.support import invariants
from tests.support.load import Load, load_on
from tests.support.platform import JOBPLANE, Platform
from tests.support.waiting import eventually_sync

pytestmark = pytest.mark.system

LEASE_MS = 3000
_BEFORE, _AFTER = 60, 120


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """A platform with short leases, whose workers are the tests' own."""
    whole = Platform(tmp_path_factory.mktemp("killed"), options=("--workers", "0"))
    try:
        whole.start(environment={"JOBPLANE_LEASE_MS": str(LEASE_MS)})
        yield whole
    finally:
        whole.stop()


@contextmanager
def worker(platform: Platform, name: str) -> Iterator[subprocess.Popen[bytes]]:
    """A worker with the handlers of `tests.support.slow_jobs`."""
    command: list[str | Path] = [JOBPLANE, "worker", "tests.support.slow_jobs", "--data", platform.data, "--name", name]
    variables = os.environ | {"JOBPLANE_WORKER_LEASE_MS": str(LEASE_MS)}
    with (platform.directory / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            command,
            env=variables,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=Path(__file__).parents[2],
            start_new_session=True,
        )
        try:
            yield process
        finally:
            if process.poll() is None:
                process.terminate()
            process.wait(20)


def _all_done(platform: Platform, load: Load) -> None:
    """Everything that was answered exists once, is completed, and is told alike by journal, bus, audit and counters."""
    assert load.problems == []
    assert len(load.accepted) == len(set(load.accepted))
    eventually_sync(lambda: invariants.settled(platform), timeout=60)
    with invariants.connect(platform) as conn:
        query = "SELECT count(*) FROM jobs.job WHERE id = ANY(%s::uuid[]) AND status = 'COMPLETED'"
        assert conn.execute(query, (load.accepted,)).fetchone() == (len(load.accepted),)
        keys = conn.execute(
            "SELECT convert_from(data, 'utf8')::json ->> 'key' FROM jobs.body JOIN jobs.job ON payload_ref = ref"
        ).fetchall()
    assert len(keys) == len(set(keys)), "a repeated request created a second job"
    invariants.check(platform)


@pytest.mark.parametrize("victim", ["jobs", "nats-server", "audit"])
def test_a_killed_process_loses_and_doubles_nothing(platform: Platform, victim: str) -> None:
    with worker(platform, f"with-{victim}"), load_on(platform) as load:
        load.reaches(_BEFORE)
        platform.kill(victim)
        load.reaches(len(load.accepted) + _AFTER)
    with worker(platform, "afterwards"):
        _all_done(platform, load)


def _now(conn: psycopg.Connection[Any]) -> datetime:
    row = conn.execute("SELECT clock_timestamp()").fetchone()
    assert row is not None
    now: datetime = row[0]
    return now


def _running(platform: Platform, kind: str) -> list[tuple[str, str]]:
    with invariants.connect(platform) as conn:
        query = "SELECT id::text, worker FROM jobs.job WHERE kind = %s AND status = 'RUNNING' ORDER BY id"
        return [(row[0], row[1]) for row in conn.execute(query, (kind,)).fetchall()]


def _create_slow(platform: Platform, count: int, seconds: float) -> list[str]:
    with platform.client() as client:
        body = {"kind": "test.slow", "payload": {"seconds": seconds}}
        return [client.post("/jobs", json=body).json()["id"] for _ in range(count)]


def test_jobs_of_a_killed_worker_are_recovered_within_one_lease(platform: Platform) -> None:
    ids = _create_slow(platform, 4, seconds=1.5)
    with worker(platform, "victim") as victim:
        eventually_sync(lambda: len(_running(platform, "test.slow")) == len(ids), timeout=20)
        victim.kill()
        with invariants.connect(platform) as conn:
            killed_at = _now(conn)
    with worker(platform, "heir"):
        eventually_sync(lambda: invariants.settled(platform), timeout=60)
    with invariants.connect(platform) as conn:
        orphaned = conn.execute(
            "SELECT stream_id::text, at - %s FROM jobs.event "
            "WHERE type = 'job.orphaned.v1' AND stream_id = ANY(%s::uuid[])",
            (killed_at, ids),
        ).fetchall()
        done = conn.execute(
            "SELECT count(*) FROM jobs.job WHERE id = ANY(%s::uuid[]) AND status = 'COMPLETED' AND run = 2", (ids,)
        ).fetchone()
    assert sorted(job for job, _ in orphaned) == sorted(ids)
    assert done == (len(ids),)
    # The rescuer looks once a second.
    assert max(after.total_seconds() for _, after in orphaned) < LEASE_MS / 1000 + 2
    invariants.check(platform)


def test_an_outage_of_the_bus_for_two_leases_orphans_nobody(platform: Platform) -> None:
    seconds = 3.5 * LEASE_MS / 1000
    with worker(platform, "patient"):
        ids = _create_slow(platform, 3, seconds)
        eventually_sync(lambda: len(_running(platform, "test.slow")) == len(ids), timeout=20)
        with invariants.connect(platform) as conn:
            since = _now(conn)
            frozen = platform.kill("nats-server", signal.SIGSTOP)
            try:
                over = "SELECT clock_timestamp() > %s + %s * interval '2 ms'"
                eventually_sync(lambda: conn.execute(over, (since, LEASE_MS)).fetchone() == (True,), timeout=30)
            finally:
                os.kill(frozen, signal.SIGCONT)
        eventually_sync(lambda: invariants.settled(platform), timeout=60)
    with invariants.connect(platform) as conn:
        query = "SELECT status, run, count(*) FROM jobs.job WHERE id = ANY(%s::uuid[]) GROUP BY 1, 2"
        assert conn.execute(query, (ids,)).fetchall() == [("COMPLETED", 1, len(ids))]
    invariants.check(platform)
