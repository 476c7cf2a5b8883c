"""What heartbeats say of the whole platform."""

from datetime import datetime

from jobplane.contracts.fleet import CheckStatus
from jobplane.health.fleet import Fleet, heard
from jobplane.health.fleet_measures import measure
from jobplane.health.report import Verdict, judge
from tests.unit.health.beats import NOON, after, beat

LISTENING = after(-60)
HEALTHY = {
    ("jobs", "jobs-1"): {},
    ("audit", "audit-1"): {"checkpoints": {"EVT_JOBS": 100, "EVT_ADMIN": 5}, "dead_events": 0},
    ("health", "health-1"): {"checkpoints": {"EVT_JOBS": 100}},
    ("gateway", "gateway-1"): {"relay_lag": 2},
    ("worker", "worker-1"): {},
}


def fleet(**replaced: dict[str, object] | None) -> Fleet:
    """A healthy fleet at noon, but for what is replaced, by kind; None leaves it out."""
    made: Fleet = {}
    for (kind, instance), detail in HEALTHY.items():
        told = replaced.get(kind, detail)
        if told is not None:
            made = heard(made, beat(kind, instance, detail=told), NOON)
    return made


def head(stream: str, at: datetime) -> int | None:
    assert at <= NOON
    return {"EVT_JOBS": 100, "EVT_ADMIN": 5}.get(stream)


def verdicts(of: Fleet, now: datetime = NOON) -> dict[str, Verdict]:
    return {verdict.name: verdict for verdict in map(judge, measure(of, now, LISTENING, head))}


def test_a_healthy_fleet_has_no_complaint() -> None:
    found = verdicts(fleet())
    assert {verdict.status for verdict in found.values()} == {CheckStatus.OK}
    assert found["projection.lag.audit.EVT_JOBS"].value == 0
    assert found["relay.lag.gateway"].value == 2


def test_nobody_is_missed_before_there_was_time_to_hear_them() -> None:
    names = {measured.rule for measured in measure({}, after(5), NOON, head)}
    assert not names & {"fleet.service", "fleet.workers"}
    assert {"fleet.service", "fleet.workers"} < {measured.rule for measured in measure({}, after(11), NOON, head)}


def test_a_service_that_is_not_heard_fails() -> None:
    found = verdicts(fleet(audit=None))
    assert found["fleet.service.audit"].status is CheckStatus.FAIL
    assert not any(name.startswith("projection.lag.audit") for name in found), "said once is enough"


def test_no_worker_is_a_warning() -> None:
    assert verdicts(fleet(worker=None))["fleet.workers"].status is CheckStatus.WARN


def test_a_process_that_fell_silent_is_named() -> None:
    found = verdicts(fleet(), after(25))
    assert found["fleet.silent.worker.worker-1"].status is CheckStatus.WARN
    assert found["fleet.silent.worker.worker-1"].value == 25


def test_a_projection_that_lags_is_named_with_its_stream() -> None:
    found = verdicts(fleet(audit={"checkpoints": {"EVT_JOBS": 90, "EVT_ADMIN": 5}}))
    assert found["projection.lag.audit.EVT_JOBS"].value == 10


def test_a_halted_projection_fails_and_says_why() -> None:
    told = {
        "checkpoints": {"EVT_JOBS": 100, "EVT_ADMIN": 5},
        "halted": {"EVT_JOBS": "EVT_JOBS has 4 where 3 comes next"},
    }
    verdict = verdicts(fleet(audit=told))["projection.lag.audit.EVT_JOBS"]
    assert verdict.status is CheckStatus.FAIL
    assert "4 where 3 comes next" in verdict.advice


def test_a_projection_that_waits_fails_and_says_for_what() -> None:
    told = {
        "checkpoints": {"EVT_JOBS": 100, "EVT_ADMIN": 5},
        "waiting": {"EVT_ADMIN": "the gateway service is not running"},
    }
    found = verdicts(fleet(audit=told))
    assert found["projection.lag.audit.EVT_ADMIN"].status is CheckStatus.FAIL
    assert "Waiting: the gateway service is not running" in found["projection.lag.audit.EVT_ADMIN"].advice
    assert found["projection.lag.audit.EVT_JOBS"].status is CheckStatus.OK


def test_a_service_that_does_not_tell_its_checkpoint_fails() -> None:
    assert verdicts(fleet(health={}))["projection.lag.health.EVT_JOBS"].status is CheckStatus.FAIL


def test_dead_events_are_a_warning() -> None:
    told = {"checkpoints": {"EVT_JOBS": 100, "EVT_ADMIN": 5}, "dead_events": 2}
    verdict = verdicts(fleet(audit=told))["projection.dead_events.audit"]
    assert (verdict.status, verdict.value) == (CheckStatus.WARN, 2)


def test_a_stream_that_is_not_as_declared_is_a_warning() -> None:
    found = verdicts(fleet(gateway={"drifts": ["the stream EVT_ADMIN has another max_bytes than declared"]}))
    assert found["stream.drift.gateway"].status is CheckStatus.WARN
    assert found["stream.drift.jobs"].status is CheckStatus.OK


def test_a_halted_journal_of_the_gateway_fails_and_says_why() -> None:
    verdict = verdicts(fleet(gateway={"relay_lag": 0, "journal_halted": "EVT_ADMIN ends at 9"}))["relay.lag.gateway"]
    assert verdict.status is CheckStatus.FAIL
    assert "EVT_ADMIN ends at 9" in verdict.advice
    assert verdicts(fleet(gateway={"relay_lag": 2, "journal_halted": None}))["relay.lag.gateway"].value == 2


def test_a_process_that_is_not_ready_fails_and_says_why() -> None:
    away = heard(fleet(), beat("jobs", "jobs-1", after(1), ready=False, detail={"not_ready": "the bus is away"}), NOON)
    verdict = verdicts(away)["fleet.not_ready.jobs.jobs-1"]
    assert (verdict.status, verdict.value) == (CheckStatus.FAIL, "the bus is away")
    assert verdict.advice.startswith("Not ready: the bus is away. ")
    stopped = heard(fleet(), beat("jobs", "jobs-1", after(1), ready=False, stopping=True), NOON)
    assert "fleet.not_ready.jobs.jobs-1" not in verdicts(stopped)
