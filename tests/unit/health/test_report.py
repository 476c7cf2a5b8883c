"""Measurements become checks that say what is wrong, since when, and what to do."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobplane.contracts.fleet import CheckStatus
from jobplane.health.report import RULES, Measured, Standing, Unmeasured, checks, judge, stand, worst
from tests.unit.health.beats import NOON, after

OK, WARN, FAIL = CheckStatus.OK, CheckStatus.WARN, CheckStatus.FAIL


@pytest.mark.parametrize(
    ("rule", "value", "status"),
    [
        ("postgres.latency", 49.9, OK),
        ("postgres.latency", 50, WARN),
        ("postgres.latency", 1000, FAIL),
        ("postgres.size", 10**12, OK),
        ("dead_letters", 0, OK),
        ("dead_letters", 1, WARN),
        ("dead_letters", 10**6, WARN),
        ("fleet.service", 1, OK),
        ("fleet.service", 0, FAIL),
        ("fleet.workers", 0, WARN),
        ("queue.oldest", 3600, FAIL),
    ],
)
def test_a_value_is_judged_by_its_limits(rule: str, value: float, status: CheckStatus) -> None:
    assert judge(Measured(rule, value)).status is status


def test_a_check_tells_its_subject_its_value_and_its_threshold() -> None:
    verdict = judge(Measured("projection.lag", 1500, "audit.EVT_JOBS"))
    assert (verdict.name, verdict.value, verdict.threshold) == ("projection.lag.audit.EVT_JOBS", 1500, 1000)


def test_an_ok_check_says_what_it_means_and_another_what_to_do() -> None:
    rule = RULES["commands.backlog"]
    assert judge(Measured("commands.backlog", 0)).advice == f"{rule.means}."
    assert judge(Measured("commands.backlog", 5000)).advice == f"{rule.advice}."


def test_what_could_not_be_measured_fails_with_the_reason_and_what_to_do() -> None:
    verdict = judge(Unmeasured("postgres.latency", "No answer within 1.5 s"))
    assert (verdict.status, verdict.value) == (FAIL, None)
    assert verdict.advice.startswith("No answer within 1.5 s. ")
    assert RULES["postgres.latency"].advice in verdict.advice


def test_a_halt_fails_whatever_the_value() -> None:
    verdict = judge(Measured("relay.lag", 0, "jobs", note="Writes are halted: diverged"))
    assert verdict.status is FAIL
    assert verdict.advice.startswith("Writes are halted: diverged. ")


def test_since_moves_only_when_the_status_changes() -> None:
    calm, busy = judge(Measured("commands.backlog", 1)), judge(Measured("commands.backlog", 2000))
    standings = stand([calm], {}, NOON)
    standings = stand([calm], standings, after(10))
    assert standings[calm.name] == Standing(OK, NOON)
    standings = stand([busy], standings, after(20))
    standings = stand([busy], standings, after(30))
    assert standings[calm.name] == Standing(WARN, after(20))


def test_checks_are_told_worst_first_and_the_worst_is_the_whole() -> None:
    verdicts = [
        judge(Measured("dead_letters", 3)),
        judge(Measured("postgres.size", 1)),
        judge(Measured("fleet.service", 0, "jobs")),
        judge(Measured("fleet.service", 0, "audit")),
    ]
    found = checks(verdicts, stand(verdicts, {}, NOON))
    assert [check.name for check in found] == [
        "fleet.service.audit",
        "fleet.service.jobs",
        "dead_letters",
        "postgres.size",
    ]
    assert worst(found) is FAIL
    assert worst(found[2:]) is WARN
    assert worst([]) is OK


def test_every_rule_has_sentences_without_a_full_stop_and_sensible_limits() -> None:
    for name, rule in RULES.items():
        assert rule.means, name
        assert rule.advice, name
        assert not rule.means.endswith("."), name
        assert not rule.advice.endswith("."), name
        if rule.warn is not None and rule.fail is not None:
            assert rule.warn < rule.fail, name


@given(st.sampled_from(sorted(RULES)), st.none() | st.text() | st.floats())
def test_any_value_gets_a_verdict(rule: str, value: float | str | None) -> None:
    assert judge(Measured(rule, value)).advice
