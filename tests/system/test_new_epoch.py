"""A database older than the bus: writes halt, say why, and go on when the operator decides."""

import shutil
from typing import Any

import httpx2
import pytest

from tests.support import invariants
from tests.support.platform import Platform
from tests.support.waiting import eventually_sync

pytestmark = pytest.mark.system

_LATER = {"kind": "test.never", "run_at": "2030-01-01T00:00:00Z"}
_FIRST = 200_000
"""Clients may have been told of positions behind those that either side still knows."""


def test_writes_halt_when_the_database_is_older_than_the_bus_until_a_new_epoch(platform: Platform) -> None:
    with platform.client() as client:
        jobs = [client.post("/jobs", json=_LATER).json()["id"] for _ in range(5)]
        with invariants.connect(platform) as conn:
            eventually_sync(
                lambda: (
                    conn.execute("SELECT count(*) FROM audit.audit_log WHERE source = 'EVT_JOBS'").fetchone() == (5,)
                ),
                timeout=20,
            )
            # What a restored backup looks like: the last two events and all that they changed never happened.
            conn.execute("DELETE FROM jobs.job WHERE id = ANY(%s::uuid[])", (jobs[3:],))
            conn.execute("DELETE FROM jobs.event WHERE pos > 3")
            conn.execute("UPDATE jobs.journal_head SET pos = 3")
            conn.execute("UPDATE jobs.job_count SET n = 3")
        platform.kill("jobs")
        eventually_sync(lambda: client.post("/jobs", json=_LATER).json().get("code") == "journal_diverged", timeout=30)

        opened = platform.command("journal", "new-epoch", "jobs", "--yes")
        assert opened.stdout == f"epoch 2 of jobs begins at position {_FIRST}\n", opened.stderr

        with invariants.connect(platform) as conn:
            read = "SELECT position FROM audit.checkpoint WHERE name = 'audit.EVT_JOBS'"
            eventually_sync(lambda: conn.execute(read).fetchone() == (_FIRST - 1,), timeout=30)
        after = eventually_sync(lambda: _created(client), timeout=20)
        assert after["position"] >= _FIRST  # one that was only accepted before may have been first
        eventually_sync(
            lambda: len(client.get("/audit", params={"target": after["id"]}).json()["items"]) == 1, timeout=20
        )
        item = client.get("/audit", params={"target": after["id"]}).json()["items"][0]
        assert item["source_position"] == after["position"]
    verified = platform.command("verify", "--only", "I1,I2,I6")
    assert verified.returncode == 0, verified.stdout
    assert f"jobs: positions 4 to {_FIRST - 1} were never given, epoch 2 begins behind them" in verified.stdout

    # The bus loses everything: it heals from the journal, whose current epoch begins there.
    platform.stop()
    shutil.rmtree(platform.data / "nats")
    platform.start()
    with platform.client() as client:
        healed = eventually_sync(lambda: _created(client), timeout=20)
        assert healed["position"] > after["position"]
        eventually_sync(lambda: client.get("/audit", params={"target": healed["id"]}).json()["items"], timeout=20)


def _created(client: httpx2.Client) -> dict[str, Any] | None:
    answer = client.post("/jobs", json=_LATER)
    return answer.json() if answer.status_code == 201 else None
