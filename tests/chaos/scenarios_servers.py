"""NATS, PostgreSQL and their disks: away, wiped, restored, full."""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Final

import httpx2

from tests.chaos.act import Act, Around, Scenario
from tests.chaos.evidence import Evidence
from tests.chaos.faults import small_disks
from tests.chaos.protocol import lease_once
from tests.chaos.stage import LEASE_MS, Stage
from tests.support.platform import ADMIN_PASSWORD

_OUTAGE_S: Final = 2.5 * LEASE_MS / 1000
"""Longer than two leases: whoever expired leases without looking would do it now."""
_VERIFIED_S: Final = 60
_STREAMS: Final = {"jobs": "EVT_JOBS", "gateway": "EVT_ADMIN"}
_DISK_MIB: Final = {"postgres": 180, "nats": 32}


def _code(answer: httpx2.Response) -> tuple[int, str | None]:
    return answer.status_code, answer.json().get("code")


def _bus_down(act: Act) -> None:
    act.facts["running"] = [act.created("chaos.slow", seconds=2.0) for _ in range(3)]
    act.wait(lambda: all(act.job(job)["status"] == "RUNNING" for job in act.facts["running"]), "jobs are not started")
    with act.faults.bus_down():
        act.pause(0.3)
        refused = _code(act.create())
        assert refused == (503, "not_accepted"), f"without a bus a command is answered {refused}"
        assert act.stage.probe("jobs", "healthz") == 200, "jobs is not alive without a bus"
        act.pause(_OUTAGE_S)
    act.wait(lambda: act.create().status_code == 201, "commands are not accepted again")


def _nothing_was_orphaned(act: Act, evidence: Evidence) -> None:
    assert "job.orphaned.v1" not in act.events(), "an outage orphaned a run"
    for job in act.facts["running"]:
        row = evidence.jobs[job]
        assert (row["status"], row["run"]) == ("COMPLETED", 1), f"{job} is {row['status']} after run {row['run']}"


def _bus_wiped(act: Act) -> None:
    for _ in range(2):
        act.faults.wipe_bus()
        act.wait(lambda: act.create().status_code == 201, "commands are not accepted again")
        act.load.reaches(10)


def _database_down(act: Act) -> None:
    with act.faults.database_down():
        act.pause(0.5)
        answer = act.create()
        assert answer.status_code == 202, f"without a database a command is answered {answer.status_code} {answer.text}"
        act.facts["queued"] = answer.json()["command_id"]
        _jobs_says_so(act)
        act.pause(1.0, _OUTAGE_S)


def _jobs_database_down(act: Act) -> None:
    with act.faults.away(act.stage.database_proxy, "jobplane_jobs"):
        act.pause(0.5)
        answer = act.create()
        assert answer.status_code == 202, f"without its database a command is answered {answer.status_code}"
        act.facts["queued"] = answer.json()["command_id"]
        _jobs_says_so(act)
        act.pause(1.0, _OUTAGE_S)


def _jobs_says_so(act: Act) -> None:
    told = lease_once(act.stage.nats_url_as("worker"))
    assert told.get("error") == "unavailable", f"a lease is answered {told}"
    act.wait(lambda: act.stage.probe("jobs") == 503, "jobs says that it is ready without its database", timeout=6)
    assert act.stage.probe("jobs", "healthz") == 200, "jobs is not alive without its database"


def _queued_command_is_done(act: Act, evidence: Evidence) -> None:
    outcome = evidence.outcomes.get(act.facts["queued"], {})
    assert outcome.get("status") == "done", f"the queued command has the outcome {outcome}"
    assert "job.orphaned.v1" not in act.events(), "an outage orphaned a run"


def _gateway_database_down(act: Act) -> None:
    with act.faults.away(act.stage.database_proxy, "jobplane_gateway"):
        act.pause(0.5)
        _fails_closed_for_strangers(act)
        known = act.http.get("/jobs").status_code
        assert known == 200, f"a verified session is answered {known}"
        act.pause(1.0, 3.0)
    act.wait(lambda: act.http.get("/jobs").status_code == 200, "the gateway does not recover")


def _fails_closed_for_strangers(act: Act) -> None:
    url = f"{act.stage.platform.url}/api/admin"
    unknown = httpx2.get(f"{url}/jobs", headers={"Authorization": "Bearer unknown"}, timeout=10)
    assert unknown.status_code == 503, f"an unknown token is answered {unknown.status_code}"
    login = httpx2.post(f"{url}/token", json={"username": "admin", "password": "x" * 20}, timeout=10)
    assert login.status_code == 503, f"a login is answered {login.status_code}"


def _gateway_database_down_for_long(act: Act) -> None:
    with act.faults.away(act.stage.database_proxy, "jobplane_gateway"):
        act.wait(
            lambda: act.http.get("/jobs").status_code == 503,
            "verified sessions are believed for ever",
            timeout=_VERIFIED_S + 8,
        )
    act.wait(lambda: act.http.get("/jobs").status_code == 200, "the gateway does not recover")


def _restored(act: Act) -> None:
    act.faults.copy_database()
    act.load.reaches(25)
    act.wait(lambda: _logs_in(act), "nobody can log in")  # an event of the gateway's journal, too
    act.wait(lambda: _relayed(act, "gateway", "EVT_ADMIN"), "the login does not reach the bus")
    act.faults.restore_database()
    act.wait(lambda: _code(act.create()) == (503, "journal_diverged"), "writes do not halt", timeout=25)
    act.wait(lambda: _audit_has_read_the_streams(act), "audit does not read on while writes are halted")
    for service, stream in _STREAMS.items():
        act.wait(partial(_halted, act, service), f"the journal of {service} is not halted")
        _open_epoch(act, service, stream)
    act.wait(lambda: act.create().status_code == 201, "writes go not on in the new epoch", timeout=25)


def _relayed(act: Act, service: str, stream: str) -> bool:
    head = act.stage.query(f"SELECT pos FROM {service}.journal_head")[0][0]
    return bool(act.stage.stream_end(stream) == head)


def _logs_in(act: Act) -> bool:
    url = f"{act.stage.platform.url}/api/admin/token"
    return httpx2.post(url, json={"username": "admin", "password": ADMIN_PASSWORD}, timeout=10).status_code == 200


def _halted(act: Act, service: str) -> bool:
    return act.stage.query(f"SELECT halted FROM {service}.journal_head")[0][0] is not None


def _audit_has_read_the_streams(act: Act) -> bool:
    read = {row[0]: row[1] for row in act.stage.query("SELECT name, position FROM audit.checkpoint")}
    ends = [act.stage.stream_end(stream) for stream in _STREAMS.values()]
    return sorted(read.values()) == sorted(ends)


def _open_epoch(act: Act, service: str, stream: str) -> None:
    servers = {"DATABASE_URL": act.stage.database_url, "NATS_URL": act.stage.nats_address}
    done = act.stage.platform.command("journal", "new-epoch", service, "--yes", env=os.environ | servers)
    found = re.search(r"begins at position (\d+)", done.stdout)
    assert found is not None, f"no new epoch of {service}: {done.stdout} {done.stderr}"
    act.stage.history.note("epoch", stream=stream, first=int(found[1]))


def _on_small_disk(server: str) -> Around:
    @contextmanager
    def around(stage: Stage) -> Iterator[None]:
        small = stage.directory / "small"
        with small_disks((small, _DISK_MIB[server])):
            if server == "postgres":
                stage.postgres_directory = small / server
            else:
                stage.nats_directory = small / server
            yield

    return around


def _disk_full(server: str, act: Act) -> None:
    with act.faults.disk_full(act.stage.directory / "small"):
        act.wait(lambda: act.create().status_code in {202, 503}, "a full disk is not felt", timeout=20)
        act.pause(1.0, 3.0)
    process = act.stage.postgres if server == "postgres" else act.stage.nats
    assert process is not None
    if server == "nats":  # it writes to no stream again that met a full disk, until it is started anew
        act.stage.stop_nats()
    if process.process.poll() is not None:
        act.stage.history.note("restart", server=server)
        act.faults.restart(server)
    act.wait(lambda: act.create().status_code == 201, "nothing goes on when there is room again", timeout=20)


SCENARIOS: Final = (
    Scenario(
        "bus-down",
        "NATS down",
        "no new commands (503), running jobs go on and report later, jobs stays alive, nothing is orphaned",
        _bus_down,
        _nothing_was_orphaned,
    ),
    Scenario(
        "bus-wiped",
        "NATS wiped",
        "streams are made anew from the journal; only undecided commands are lost",
        _bus_wiped,
    ),
    Scenario(
        "database-down",
        "jobs' database down",
        "commands queue (202) and are decided later, leases answer `unavailable`, not ready but alive, no orphans",
        _database_down,
        _queued_command_is_done,
    ),
    Scenario(
        "jobs-database-down",
        "jobs' database down",
        "the same while every other service still reaches its own",
        _jobs_database_down,
        _queued_command_is_done,
    ),
    Scenario(
        "gateway-database-down",
        "gateway's database down",
        "verified sessions go on, strangers and logins get 503",
        _gateway_database_down,
    ),
    Scenario(
        "gateway-database-down-long",
        "gateway's database down",
        "after at most a minute verified sessions get 503, too",
        _gateway_database_down_for_long,
    ),
    Scenario(
        "database-restored",
        "Postgres restored older than the bus",
        "writes halt (503 journal_diverged) until a new epoch; no position ever means two events",
        _restored,
    ),
    Scenario(
        "disk-full-postgres",
        "disk full",
        "commands wait or are refused while it is full, nothing is lost, everything goes on when there is room",
        lambda act: _disk_full("postgres", act),
        around=_on_small_disk("postgres"),
    ),
    Scenario(
        "disk-full-nats",
        "disk full",
        "commands are refused (503) while it is full, nothing is lost, everything goes on after a restart of NATS",
        lambda act: _disk_full("nats", act),
        around=_on_small_disk("nats"),
    ),
)
