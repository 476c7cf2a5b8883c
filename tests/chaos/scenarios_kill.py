"""Processes that are killed or frozen, one at a time."""

from collections.abc import Callable
from typing import Final

from tests.chaos.act import Act, Scenario
from tests.chaos.evidence import Evidence
from tests.chaos.stage import LEASE_MS

_LEASE_S: Final = LEASE_MS / 1000
_RESCUER_S: Final = 2.0
"""It looks once a second; a second more for a busy machine."""


def _killed(victim: str) -> Callable[[Act], None]:
    def play(act: Act) -> None:
        for _ in range(3):
            act.faults.kill(victim)
            act.pause(0.3, 1.2)
            act.load.reaches(8)

    return play


def _frozen(victim: str, low: float, high: float) -> Callable[[Act], None]:
    def play(act: Act) -> None:
        for _ in range(2):
            with act.faults.frozen(victim):
                act.pause(low, high)
            act.load.reaches(8)

    return play


def _nobody_was_orphaned(act: Act, _evidence: Evidence) -> None:
    assert "job.orphaned.v1" not in act.events(), "an outage that workers have no part in orphaned a run"


def _worker_dies(act: Act) -> None:
    jobs = [act.created("chaos.slow", seconds=1.5) for _ in range(4)]
    act.wait(lambda: _running(act, jobs), "the jobs are not started")
    workers = {act.job(job)["worker"] for job in jobs}
    act.facts["jobs"] = jobs
    began = act.stage.query("SELECT clock_timestamp()")[0][0]
    for worker in workers:
        act.faults.kill(worker)
    act.wait(lambda: all("job.orphaned.v1" in act.events(job) for job in jobs), "a lost job is not orphaned")
    late = act.stage.query(
        "SELECT max(at) - %s FROM jobs.event WHERE type = 'job.orphaned.v1' AND stream_id = ANY(%s::uuid[])",
        began,
        jobs,
    )[0][0]
    assert late.total_seconds() < _LEASE_S + _RESCUER_S, f"orphaned only after {late}"


def _running(act: Act, jobs: list[str]) -> bool:
    running = "SELECT count(*) FROM jobs.job WHERE status = 'RUNNING' AND id = ANY(%s::uuid[])"
    return bool(act.stage.query(running, jobs)[0][0] == len(jobs))


def _orphans_are_done(act: Act, evidence: Evidence) -> None:
    for job in act.facts["jobs"]:
        row = evidence.jobs[job]
        assert (row["status"], row["run"]) == ("COMPLETED", 2), f"{job} is {row['status']} after run {row['run']}"


def _worker_freezes(act: Act) -> None:
    jobs = [act.created("chaos.slow", seconds=1.0) for _ in range(3)]
    act.wait(lambda: _running(act, jobs), "the jobs are not started")
    act.facts["jobs"] = jobs
    workers = sorted({act.job(job)["worker"] for job in jobs})
    for worker in workers[1:]:
        act.faults.kill(worker)  # so that one frozen worker is left of them
    with act.faults.frozen(workers[0]):
        act.faults.spare_worker()
        act.wait(lambda: all("job.orphaned.v1" in act.events(job) for job in jobs), "a frozen job is not orphaned")
        act.wait(lambda: all(act.job(job)["status"] == "COMPLETED" for job in jobs), "nobody took the orphans over")


def _late_reports_are_fenced(act: Act, evidence: Evidence) -> None:
    """The frozen worker woke up and reported its first run, or was told that it is lost; the second run counts."""
    _orphans_are_done(act, evidence)
    for job in act.facts["jobs"]:
        ends = [event for event in act.events(job) if event == "job.completed.v1"]
        assert len(ends) == 1, f"{job} was completed {len(ends)} times"


KILLED: Final = {
    "jobs": "rolled back, or the stored outcome is found on redelivery; its clients repeat and are answered once",
    "gateway": "clients connect again and get the outcome of what they asked before",
    "audit": "catches up from its checkpoint: every event has one entry",
    "health": "nobody else notices",
    "nats": "everything reconnects, every acknowledged message is still there",
    "fork-server": "all services end with it and are started again",
    "postgres": "transactions roll back or are committed, commands wait, everything reconnects",
}
FROZEN: Final = {
    "jobs": (3.0, 5.5, "commands wait (and are delivered again), workers that could not beat keep their leases"),
    "gateway": (1.5, 4.0, "clients wait"),
    "audit": (3.0, 6.0, "catches up"),
    "health": (3.0, 6.0, "nobody else notices"),
    "nats": (3.0, 6.0, "nothing is orphaned or lost"),
    "postgres": (3.0, 6.0, "commands wait, nothing is orphaned or lost"),
}

SCENARIOS: Final = (
    *(
        Scenario(f"kill-{victim}", "kill -9 of any process", promise, _killed(victim), _nobody_was_orphaned)
        for victim, promise in KILLED.items()
    ),
    *(
        Scenario(
            f"freeze-{victim}", "SIGSTOP of any process", promise, _frozen(victim, low, high), _nobody_was_orphaned
        )
        for victim, (low, high, promise) in FROZEN.items()
    ),
    Scenario(
        "kill-worker",
        "worker killed or frozen beyond its lease",
        "its jobs are orphaned within a lease and two seconds, and run again elsewhere",
        _worker_dies,
        _orphans_are_done,
    ),
    Scenario(
        "freeze-worker",
        "worker killed or frozen beyond its lease",
        "its jobs are orphaned and completed by others; what it reports when it wakes is fenced",
        _worker_freezes,
        _late_reports_are_fenced,
    ),
)
